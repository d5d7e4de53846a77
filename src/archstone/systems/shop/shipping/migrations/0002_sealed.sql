-- Addresses are sealed. What older releases have written moves over in the background, and `address` is emptied.

ALTER TABLE shipments ADD COLUMN sealed BLOB;   -- the address; null: none, or still in the column address

CREATE INDEX shipments_in_the_clear ON shipments (order_id) WHERE address <> '';
