-- Finding any order: by time, state, customer, product and words, newest first.

ALTER TABLE orders ADD COLUMN recipient TEXT NOT NULL DEFAULT '';    -- name in the address
ALTER TABLE orders ADD COLUMN refunded BIGINT NOT NULL DEFAULT 0;   -- minor units given back in refunds
UPDATE orders SET recipient = (
    SELECT CAST(data AS JSON) #>> '{address,name}' FROM events WHERE stream = orders.id AND version = 1
);

-- With the amount, so that a search for one that nothing has does not read every order.
DROP INDEX orders_of_customer;
CREATE INDEX orders_of_customer ON orders (customer_id, placed_at, id, amount);
CREATE INDEX orders_by_time ON orders (placed_at, id, amount);
CREATE INDEX orders_by_state ON orders (state, placed_at, id, amount);

-- Filled from the history a moment later, in batches: what is looked up here need not cost the customer anything.
CREATE TABLE order_lines (
    sku TEXT NOT NULL,
    placed_at BIGINT NOT NULL,       -- microseconds
    order_id TEXT NOT NULL,
    PRIMARY KEY (sku, placed_at, order_id)
);

-- Row ids are positions of `events`: those of placed orders.
CREATE TABLE order_search (
    position BIGINT PRIMARY KEY,
    words TSVECTOR NOT NULL
);
CREATE INDEX order_search_words ON order_search USING gin (words);

CREATE TABLE indexed (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    position BIGINT NOT NULL         -- of `events`: orders up to here are in the two above
);
INSERT INTO indexed (one, position) VALUES (1, 0);
