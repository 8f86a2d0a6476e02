#!/bin/bash
#
# check_deviations.sh
#		Is every difference that the comparison with Debezium allows
#		documented, and is every documented one allowed?
#
# A group of test/golden/deviations.txt has a title and what Debezium does,
# what we do, and why; docs/deviations.md has a section of that title with the
# same.  Prints what is missing, then "N passed, N failed".

cd "$(dirname "$0")/.." || exit 1

passed=0
failed=0
verdict()
{
	if [ "$1" = "$2" ]; then
		passed=$((passed + 1))
	else
		echo "$3"
		failed=$((failed + 1))
	fi
}

# TITLE|WORDS a line; the list's own head and what changes from run to run are
# no differences.
listed()
{
	awk '
		/^#/ { sub(/^# */, ""); text = text (title == "" ? "" : " ") ; if (title == "") title = $0; else text = text $0; next }
		/^$/ { title = text = ""; next }
		title != "" { if (text ~ /Debezium: .*Here: .*Why: /) print title "|" text; title = text = "" }
	' test/golden/deviations.txt | sed 's/  */ /g; s/| /|/'
}
documented()
{
	awk '
		/^## / { if (title != "") print title "|" text; title = substr($0, 4); text = ""; next }
		title != "" && NF { sub(/^- /, ""); text = text " " $0 }
		END { if (title != "") print title "|" text }
	' docs/deviations.md | sed 's/\*\*//g; s/  */ /g; s/| /|/'
}

while IFS= read -r line; do
	documented | grep -qxF "$line"
	verdict $? 0 "not in docs/deviations.md as in deviations.txt: ${line%%|*}"
done < <(listed)
while IFS= read -r line; do
	listed | grep -qxF "$line"
	verdict $? 0 "not in deviations.txt as in docs/deviations.md: ${line%%|*}"
done < <(documented)

# Rules of no group
groups=$(grep -cE '^# Why: ' test/golden/deviations.txt)
verdict "$(listed | wc -l)" "$groups" "a group of deviations.txt has no rules, or not all of Debezium, Here and Why"
verdict "$(awk '/^$/ { blank = 1; next } blank && /^[a-z]/ { n++ } { blank = 0 } END { print n + 0 }' test/golden/deviations.txt)" 0 \
	"rules of deviations.txt stand without a comment"
for page in docs/types.md docs/debezium.md; do
	grep -q '](deviations.md)' "$page"
	verdict $? 0 "$page has no link to deviations.md"
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
