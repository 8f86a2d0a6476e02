#!/bin/bash
#
# check_includes.sh
#		Which file may not include what: the boundaries of the architecture.
#
# Follows our own headers, so that a boundary cannot be crossed by way of one.
# Prints each violation, and at the end "N passed, N failed".

cd "$(dirname "$0")/.." || exit 1

catalog='catalog/.*|access/(relation|table|genam|htup_details|heapam)\.h|utils/(rel|relcache|syscache|lsyscache|inval|typcache)\.h|relation_map\.h'
avro='avro\.h|avro/.*'
rdkafka='librdkafka/.*|rdkafka\.h'
curl='curl/.*|curl\.h'
server='postgres\.h|c\.h|fmgr\.h|miscadmin\.h|utils/.*|access/.*|catalog/.*|nodes/.*|replication/.*|storage/.*|executor/.*|lib/.*'

# files (a pattern), then what they may not include (a regular expression)
rules="
ack_tracker.[ch]	$catalog|$avro|$rdkafka|$server
avro_encode.[ch]	$catalog|$avro|$rdkafka|$server
type_*.[ch]			$rdkafka|$curl
relation_map.[ch]	$rdkafka|$curl
column_transform.[ch]	$rdkafka|$curl|$avro
source_type.[ch]	$rdkafka|$curl|$avro
java_hash.[ch]		$catalog|$avro|$rdkafka|$server
table_filter.[ch]	$catalog|$avro|$rdkafka|$curl
topic_name.[ch]		$catalog|$avro|$rdkafka|$curl
timescale.[ch]		$avro|$rdkafka|$curl
partition_routing.[ch]	$rdkafka|$curl
unchanged.[ch]		$rdkafka|$curl
toast_reselect.[ch]	$rdkafka|$curl
java_text.[ch]		$catalog|$avro|$rdkafka|$curl
json_encode.[ch]	$catalog|$avro|$rdkafka|$curl
transaction_metadata.h	$rdkafka|$curl|$avro
heartbeat.h			$rdkafka|$curl|$avro|type_map\.h|relation_map\.h
signal_table.[ch]	$rdkafka|$curl|$avro
notification.h		$rdkafka|$curl|$avro|type_map\.h|relation_map\.h
avro_schema.[ch]	$rdkafka|$curl
decoder.[ch]		$rdkafka|$curl
envelope.[ch]		$rdkafka|$curl
flat.[ch]			$rdkafka|$curl
outbox.[ch]			$rdkafka|$curl
json_payload.[ch]	$catalog|$avro|$rdkafka|$curl
route.[ch]			$catalog|$avro|$rdkafka|$curl
publication.[ch]	$rdkafka|$curl|$avro
adopt.[ch]			$rdkafka|$curl|$avro
wal_end.[ch]		$rdkafka|$curl|$avro
kill_point.[ch]		$rdkafka|$curl|$avro|$catalog|relation_map\.h
place.[ch]			$rdkafka|$curl|$avro|relation_map\.h
kafka_sink.[ch]		$catalog|replication/.*|$avro
kafka_transaction.c	$catalog|replication/.*|$avro
kafka_source.[ch]	$catalog|replication/.*|$avro
slot_file.[ch]		$rdkafka|$curl|$avro|$catalog|relation_map\.h|replication/.*
snapshot_progress.[ch]	$rdkafka|$curl|$avro|relation_map\.h|replication/.*
connection_files.[ch]	$catalog|replication/.*|$avro|$rdkafka|$curl
registry.[ch]		$catalog|replication/.*|$avro|$rdkafka
snapshot_notes.[ch]		$rdkafka|$curl|$avro|relation_map\.h|replication/.*
seen_rows.[ch]			$rdkafka|$curl|$avro|relation_map\.h|replication/.*
snapshot_reader.[ch]	$rdkafka|$curl
row_predicate.[ch]	$rdkafka|$curl
table_access.[ch]	$rdkafka|$curl|$avro
side_worker.[ch]	$rdkafka|$curl|$avro
preload_point.c		$rdkafka|$curl|$avro
verify.[ch]			$rdkafka|$curl|$avro
record_digest.[ch]	$rdkafka|$curl|$avro
key_fold.[ch]		$rdkafka|$curl|$avro|replication/.*
delivery_failure.c	$rdkafka|$avro|$curl
dead_letter.[ch]	$rdkafka|$curl
oversize.[ch]		$rdkafka|$curl
suspect.[ch]		$catalog|$rdkafka|$curl|$avro
delivery.[ch]		$rdkafka|$avro|$curl
delivery_private.h	$rdkafka|$avro|$curl
delivery_transaction.c	$rdkafka|$avro|$curl
exactly_once.[ch]	$rdkafka|$curl|$avro|relation_map\.h
progress_record.[ch]	$rdkafka|$curl|$avro|$catalog
snapshot.[ch]		$rdkafka|$curl
snapshot_scan.[ch]	$rdkafka|$curl
snapshot_worker.c	$rdkafka|$curl
incremental.[ch]	$avro|$rdkafka|$curl
relay.[ch]			$catalog|$avro|$rdkafka|$curl
kafka_bgworker.[ch]	$avro|$rdkafka|type_map\.h|relation_map\.h
preload/*.[ch]		$rdkafka|$avro|$curl|jansson\.h
"

# Headers that a file includes, each on a line.
includes() { sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]\([^>"]*\)[>"].*/\1/p' "$1"; }

# reach FILE: "header via" for everything it includes, our headers' too
reach()
{
	local seen=" " queue=("$1") file header path
	while [ ${#queue[@]} -gt 0 ]; do
		file=${queue[0]}
		queue=("${queue[@]:1}")
		for header in $(includes "$file"); do
			echo "$header $file"
			for path in "$header" "$(dirname "$file")/$header"; do
				path=${path#./}
				if [ -f "$path" ] && [[ $seen != *" $path "* ]]; then
					seen+="$path "
					queue+=("$path")
				fi
			done
		done
	done
}

passed=0
failed=0
verdict()
{
	if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

while read -r pattern forbidden; do
	[ -n "$pattern" ] || continue
	files=$(compgen -G "$pattern")
	[ -n "$files" ] || { echo "$pattern: no such file"; verdict 1; continue; }
	for file in $files; do
		bad=$(reach "$file" | grep -E "^($forbidden) ")
		[ -z "$bad" ] || echo "$bad" | while read -r header via; do
			echo "$file may not include $header (by $via)"
		done
		verdict "$([ -z "$bad" ]; echo $?)"
	done
done <<< "$rules"

# One header knows librdkafka, and tests of the server's version are in compat.h.
others=$(grep -lE '#[[:space:]]*include[[:space:]]*<librdkafka' -- *.c *.h preload/*.[ch] | grep -vE '^kafka_private\.h$')
[ -z "$others" ] || echo "only kafka_private.h may include rdkafka.h:" $others
verdict "$([ -z "$others" ]; echo $?)"
others=$(grep -lE 'PG_VERSION_NUM' -- *.c *.h preload/*.[ch] | grep -v '^compat\.h$')
[ -z "$others" ] || echo "only compat.h may test the server's version:" $others
verdict "$([ -z "$others" ]; echo $?)"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
