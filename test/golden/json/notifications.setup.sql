CREATE TABLE sig (id text PRIMARY KEY, type text, data text);
CREATE TABLE a (id int PRIMARY KEY, v text);
INSERT INTO a SELECT i, 'a' || i FROM generate_series(1, 5) i;
CREATE TABLE b (x text, y int, v text, PRIMARY KEY (y, x));
INSERT INTO b VALUES ('p', 1), ('q', 2);
CREATE TABLE empty (id int PRIMARY KEY);
