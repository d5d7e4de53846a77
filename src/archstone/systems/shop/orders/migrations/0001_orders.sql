-- The history of every order, and how each stands now. The second is made from the first, in one transaction.

CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,             -- the order's id
    version INTEGER NOT NULL,         -- from 1, without gaps
    type TEXT NOT NULL,               -- the event's name
    type_version INTEGER NOT NULL,
    data TEXT NOT NULL,               -- JSON
    metadata TEXT NOT NULL,           -- JSON: who and what caused it
    at INTEGER NOT NULL,              -- microseconds
    UNIQUE (stream, version)
);

CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL,
    state TEXT NOT NULL,
    version INTEGER NOT NULL,         -- of the last event
    amount INTEGER NOT NULL,          -- minor units
    currency TEXT NOT NULL,
    pieces INTEGER NOT NULL,
    placed_at INTEGER NOT NULL        -- microseconds
) WITHOUT ROWID;

CREATE INDEX orders_of_customer ON orders (customer_id, placed_at, id);

-- Why a checkout was turned back, said by the service that refused. Becomes part of the history when the order ends.
CREATE TABLE refusals (
    order_id TEXT PRIMARY KEY,
    reason TEXT NOT NULL
) WITHOUT ROWID;
