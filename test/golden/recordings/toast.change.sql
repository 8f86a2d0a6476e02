update inv.toast set v = 2;
