-- Finding any order: by time, state and customer, newest first. Words and products have tables of their own.

ALTER TABLE orders ADD COLUMN recipient TEXT NOT NULL DEFAULT '';      -- name in the address
ALTER TABLE orders ADD COLUMN refunded BIGINT NOT NULL DEFAULT 0;      -- minor units given back in refunds

-- With the amount, so that a search for one that nothing has does not read every order.
DROP INDEX orders_of_customer;
CREATE INDEX orders_of_customer ON orders (customer_id, placed_at, id, amount);
CREATE INDEX orders_by_time ON orders (placed_at, id, amount);
CREATE INDEX orders_by_state ON orders (state, placed_at, id, amount);
