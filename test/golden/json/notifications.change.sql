INSERT INTO sig VALUES ('s1', 'execute-snapshot', '{"type": "incremental", "data-collections": ["public.a", "public.b"]}');
-- wait
-- sleep 2
INSERT INTO sig VALUES ('s2', 'execute-snapshot', '{"data-collections": ["public.a"], "additional-conditions": [{"data-collection": "public.a", "filter": "id > 3"}]}');
-- wait
-- sleep 2
INSERT INTO sig VALUES ('s3', 'execute-snapshot', '{"data-collections": ["public.empty"]}');
-- wait
-- sleep 2
INSERT INTO sig VALUES ('s4', 'execute-snapshot', '{"data-collections": ["public.a"], "additional-conditions": [{"data-collection": "public.a", "filter": "wrong"}]}');
-- wait
-- sleep 2
