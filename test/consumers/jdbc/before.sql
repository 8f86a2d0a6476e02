-- The sink would give a numeric without a precision the type double precision.
-- It adds the other columns itself.
CREATE TABLE shop_public_everything (id int PRIMARY KEY, free numeric);
