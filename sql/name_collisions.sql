-- Names that become the same: tables, columns, fields that are added.
SELECT create_slot();
\set VERBOSITY terse
CREATE TABLE "a b" (id int PRIMARY KEY);
CREATE TABLE "a-b" (id int PRIMARY KEY);
CREATE TABLE "a,b" (id int PRIMARY KEY, "x y" int, "x-y" int);
INSERT INTO "a b" VALUES (1);
INSERT INTO "a-b" VALUES (1);
INSERT INTO "a,b" VALUES (1, 2, 3);
CREATE FUNCTION topics(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (topic text) LANGUAGE sql AS $$
SELECT data::json->>'topic'
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	VARIADIC '{field_name_adjustment_mode,avro_unicode}' || options)
$$;
SELECT * FROM topics('table_include_list', 'public.a b');
SELECT * FROM topics('table_include_list', 'public.a.b');
SELECT * FROM topics('topic_naming_strategy', 'SchemaUnicodeTopicNamingStrategy');
SELECT * FROM topics('table_exclude_list', 'public.a b');
-- a rule that sends both there does so on purpose
SELECT * FROM topics('topic_router_regex', '.*a_b', 'topic_router_replacement', 'both', 'table_include_list', 'public.a b,public.a\,b');
-- columns that are left out do not collide
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'table_include_list', 'public.a\,b');
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'table_include_list', 'public.a\,b', 'column_exclude_list', '.*x-y');
-- but one in the key alone and one in the value alone do not either
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'table_include_list', 'public.a\,b', 'column_exclude_list', '.*x-y', 'message_key_columns', '.*:x-y');
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'table_include_list', 'public.a\,b', 'column_exclude_list', '.*x-y', 'message_key_columns', '.*:x.y');
SELECT drop_slot();
DROP TABLE "a b", "a-b", "a,b";
DROP FUNCTION topics;
