#!/bin/bash
#
# check_settings.sh
#		Is every setting documented, and every documented setting there?
#
# Settings are the rows of the table in preload/settings.c; documentation is
# docs/settings.md.  Prints what is missing, then "N passed, N failed".

cd "$(dirname "$0")/.." || exit 1

passed=0
failed=0
settings=$(sed -n 's/.*{FIELD(\([a-z0-9_]*\)).*/\1/p' preload/settings.c | sort -u)

[ -n "$settings" ] || { echo "no settings found in preload/settings.c"; failed=1; }
[ -f docs/settings.md ] || { echo "there is no docs/settings.md"; failed=$((failed + 1)); }

for setting in $settings; do
	if grep -qE "^[|#* ]*\`(wal2kafka\.)?$setting\`" docs/settings.md 2>/dev/null ||
		grep -qE "^[|#* ]+.*\`(wal2kafka\.)?$setting\`.*\|" docs/settings.md 2>/dev/null; then
		passed=$((passed + 1))
	else
		echo "setting $setting is not in docs/settings.md"
		failed=$((failed + 1))
	fi
done

# Names that the first column of the documentation's tables has.
for setting in $(sed -n 's/^| *`wal2kafka\.\([a-z0-9_]*\)`.*/\1/p' docs/settings.md 2>/dev/null | sort -u); do
	if echo "$settings" | grep -qx "$setting"; then
		passed=$((passed + 1))
	else
		echo "docs/settings.md has $setting, which is no setting"
		failed=$((failed + 1))
	fi
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
