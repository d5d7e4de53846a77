-- What was given back of an order's money, in parts or whole.

ALTER TABLE payments ADD COLUMN refunded INTEGER NOT NULL DEFAULT 0;     -- minor units given back so far
UPDATE payments SET refunded = amount WHERE state = 'refunded';

CREATE TABLE refunds (
    id TEXT PRIMARY KEY,              -- the refund's; of the rest of a cancelled order: the order's
    order_id TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    reason TEXT NOT NULL,             -- empty: the order was cancelled
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'refused')),
    at INTEGER NOT NULL               -- microseconds of the last change
) WITHOUT ROWID;

CREATE INDEX refunds_of_order ON refunds (order_id, at);

INSERT INTO refunds (id, order_id, amount, currency, reason, state, at)
    SELECT order_id, order_id, amount, currency, '', 'done', refunded_at FROM payments
    WHERE state = 'refunded' AND amount > 0;
