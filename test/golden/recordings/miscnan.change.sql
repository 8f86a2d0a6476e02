insert into inv.nn values (2, 'NaN', 'Infinity');
