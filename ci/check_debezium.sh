#!/bin/bash
#
# check_debezium.sh
#		Does bin/wal2kafka-from-debezium know every property, does it name
#		settings that there are, and does docs/debezium.md have its tables?

cd "$(dirname "$0")/.." || exit 1

passed=0
failed=0
verdict()
{
	if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
script=bin/wal2kafka-from-debezium

# Settings that its tables name, against the table of settings.
for setting in $($script --list-settings); do
	grep -q "{FIELD($setting)" preload/settings.c ||
		echo "$script names $setting, which is no setting"
	grep -q "{FIELD($setting)" preload/settings.c
	verdict $?
done

# A configuration with every property: none is unknown, each is named.
config=$(mktemp)
trap 'rm -f "$config"' EXIT
{
	grep -v '^#' ci/debezium-properties.txt | grep -vE '^(database.dbname|connector.class|transforms)$' |
		sed '/=/!s/$/=1/'
	echo 'connector.class=io.debezium.connector.postgresql.PostgresConnector'
	echo 'database.dbname=shop'
	echo 'transforms=unwrap,outbox,route,rename,ts,part'
} > "$config"
unknown=$($script "$config" 2>&1 | grep -E ': unknown|Traceback|Error')
[ -z "$unknown" ] || echo "$script does not know properties of Debezium: $unknown"
verdict "$([ -z "$unknown" ]; echo $?)"

# The documentation's tables.
difference=$(diff <($script --list) \
	<(sed -n '/^<!-- from here on: .*--list -->$/,$p' docs/debezium.md | tail -n +3))
[ -z "$difference" ] || echo "docs/debezium.md differs from $script --list:
$difference"
verdict "$([ -z "$difference" ]; echo $?)"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
