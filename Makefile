# wal2kafka: change data capture from PostgreSQL to Kafka, inside the server.
#
#   make            both libraries
#   make install    as root, into the server that PG_CONFIG names
#   make test       all tests (see README)

MODULE_big = wal2kafka_stream
OBJS = \
	kafka_bgworker.o \
	delivery.o \
	delivery_transaction.o \
	delivery_failure.o \
	dead_letter.o \
	oversize.o \
	suspect.o \
	exactly_once.o \
	progress_record.o \
	slot_state.o \
	kill_point.o \
	wal_end.o \
	adopt.o \
	selection.o \
	decoder.o \
	relation_map.o \
	flat.o \
	outbox.o \
	json_payload.o \
	route.o \
	topic_name.o \
	table_filter.o \
	timescale.o \
	partition_routing.o \
	java_hash.o \
	unchanged.o \
	toast_reselect.o \
	publication.o \
	type_map.o \
	type_modes.o \
	source_type.o \
	column_transform.o \
	type_encode.o \
	type_time.o \
	type_geometry.o \
	type_vector.o \
	type_text.o \
	type_default.o \
	avro_schema.o \
	avro_encode.o \
	envelope.o \
	transaction_metadata.o \
	context_headers.o \
	heartbeat.o \
	notification.o \
	signal_table.o \
	json_encode.o \
	java_text.o \
	event.o \
	event_serialize.o \
	registry.o \
	registry_options.o \
	schema_diff.o \
	foreign.o \
	kafka_sink.o \
	kafka_transaction.o \
	kafka_topic.o \
	kafka_property.o \
	kafka_error.o \
	kafka_source.o \
	ack_tracker.o \
	options.o \
	connection_files.o \
	place.o \
	snapshot.o \
	snapshot_scan.o \
	snapshot_worker.o \
	slot_file.o \
	snapshot_progress.o \
	snapshot_notes.o \
	seen_rows.o \
	snapshot_functions.o \
	table_access.o \
	row_predicate.o \
	incremental.o \
	relay.o \
	snapshot_reader.o \
	side_worker.o \
	preload_point.o \
	verify.o \
	record_digest.o \
	key_fold.o \
	sql_functions.o \
	decode.o

EXTENSION = wal2kafka
DATA = wal2kafka--1.0.sql
PGFILEDESC = "wal2kafka - decoder, encoder and Kafka worker"

# One question a file; setup comes first.  They need a server of their own,
# with wal_level = logical.
REGRESS = setup insert update delete identity keyless pk_change toast \
	truncate messages partition generated generated_publication \
	dropped_columns subxact rollback prepared ddl rewrite spill \
	publication_tables publication_schema row_filter column_list \
	publication_missing options names secrets skipped slot_permissions views functions adopt_slot snapshot_functions row_predicate \
	table_filters column_filters message_keys topic_names topic_routing \
	partition_routing skip_unchanged name_collisions bad_input timescale check_lists \
	flat flat_deletes outbox \
	transactions message_filters headers profiles null_defaults \
	types text_forms random_values types_extension numeric datetime time_modes \
	interval_modes arrays array_shapes postgis pgvector defaults decode connect_format \
	encoding \
	decimal_modes money binary_modes hstore_modes placeholder unknown_types \
	masks hashes truncate_columns source_type comments transform_settings
REGRESS_OPTS = --temp-instance=./tmp_check --temp-config=./tmp_check.conf
ISOLATION = concurrent_ddl_dml subxact_without_top \
	publication_change_concurrent long_transaction
ISOLATION_OPTS = --temp-instance=./tmp_check_iso \
	--temp-config=./tmp_check.conf
REGRESS_PREP = tmp_check.conf
EXTRA_CLEAN = tmp_check.conf tmp_check tmp_check_iso output_iso
NO_LOCALE = 1
ENCODING = UTF8

PG_CONFIG ?= pg_config
PKG_CONFIG ?= pkg-config
STREAM_PACKAGES = rdkafka avro-c libcurl jansson

PG_CPPFLAGS = $(shell $(PKG_CONFIG) --cflags $(STREAM_PACKAGES))
PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered -Wno-declaration-after-statement $(W2K_CFLAGS)
SHLIB_LINK = $(shell $(PKG_CONFIG) --libs $(STREAM_PACKAGES)) -Wl,-Bsymbolic-functions

# The libraries are plain C; LLVM bitcode would only slow the build down.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS tracks headers only where the server was built with --enable-depend.
$(OBJS): $(wildcard *.h preload/*.h)

# Newer servers trust only the output plugins on a list; older ones refuse to
# start with it.
tmp_check.conf: logical.conf
	cp $< $@
	if $(bindir)/postgres --describe-config | \
		grep -q '^output_plugin_libraries'; then \
		echo "output_plugin_libraries = 'pgoutput, test_decoding, wal2kafka'" >> $@; \
	fi

all: preload
install: preload-install
clean: preload-clean

.PHONY: preload preload-install preload-clean
preload:
	$(MAKE) -C preload PG_CONFIG='$(PG_CONFIG)' W2K_CFLAGS='$(W2K_CFLAGS)'
preload-install: preload
	$(MAKE) -C preload install PG_CONFIG='$(PG_CONFIG)' DESTDIR='$(DESTDIR)'
preload-clean:
	$(MAKE) -C preload clean PG_CONFIG='$(PG_CONFIG)'

.PHONY: fuzz test test-consumers nemesis bench bench-debezium bench-snapshot
test:
	test/run
# make fuzz SECONDS=600 DRIVER="decode schema": a minute each without
fuzz:
	SECONDS_EACH='$(or $(SECONDS),60)' PG_CONFIG='$(PG_CONFIG)' test/fuzz/run $(DRIVER)
test-consumers:
	test/consumers/run
nemesis:
	test/nemesis/run --seconds '$(SECONDS)' --seed '$(SEED)'
bench:
	bench/run
bench-debezium:
	bench/debezium
bench-snapshot:
	bench/snapshot/run
