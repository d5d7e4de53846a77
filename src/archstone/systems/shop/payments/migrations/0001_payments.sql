-- What was taken and given back for orders. What the bank knows is in its own file.

CREATE TABLE payments (
    order_id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL,        -- empty when it was closed before anything was taken
    amount INTEGER NOT NULL CHECK (amount >= 0),
    currency TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('captured', 'refunded', 'closed')),
    invoice INTEGER UNIQUE,           -- number, from 1, without gaps; null when nothing was taken
    captured_at INTEGER,              -- microseconds
    refunded_at INTEGER
) WITHOUT ROWID;
