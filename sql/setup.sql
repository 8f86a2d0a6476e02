-- What the other files use: events as lines, without what differs from run
-- to run.
SET client_min_messages = warning;

CREATE FUNCTION event_line(event json) RETURNS text LANGUAGE sql AS $$
SELECT concat_ws(' ',
	regexp_replace(event->>'topic', '^contrib_regression\.', ''),
	coalesce(event#>>'{value,op}', 'tombstone'),
	'key=' || coalesce(event->>'key', 'null'),
	CASE WHEN event->>'value' IS NOT NULL
		 AND event#>'{value,message}' IS NULL
	THEN 'before=' || coalesce(event#>>'{value,before}', 'null') END,
	CASE WHEN event->>'value' IS NOT NULL
		 AND event#>'{value,message}' IS NULL
	THEN 'after=' || coalesce(event#>>'{value,after}', 'null') END,
	'message=' || (event#>>'{value,message}'),
	'headers=' || nullif(event->>'headers', '{}'))
$$;

-- Take all changes of the file's slot.
CREATE FUNCTION changes(VARIADIC options text[] DEFAULT '{}')
RETURNS TABLE (event text) LANGUAGE sql AS $$
SELECT event_line(data::json)
FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL,
	VARIADIC options)
$$;

CREATE FUNCTION create_slot() RETURNS text LANGUAGE sql AS $$
SELECT slot_name::text
FROM pg_create_logical_replication_slot('regression_slot', 'wal2kafka')
$$;

CREATE FUNCTION drop_slot() RETURNS text LANGUAGE sql AS $$
SELECT 'dropped' FROM pg_drop_replication_slot('regression_slot')
$$;
