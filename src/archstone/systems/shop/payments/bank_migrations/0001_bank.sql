-- A bank for tests and for the first day: what it promised, what it took, what it gave back, and its books.

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,              -- `shop`, or `card:` and the token
    opened_at INTEGER NOT NULL        -- microseconds
) WITHOUT ROWID;

CREATE TABLE authorisations (
    key TEXT PRIMARY KEY,
    token TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    currency TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'declined', 'captured', 'refunded', 'void')),
    reason TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 1,
    at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE captures (
    key TEXT PRIMARY KEY REFERENCES authorisations (key),
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE refunds (
    key TEXT PRIMARY KEY REFERENCES captures (key),
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- Double entry: every movement is two rows that sum to zero.
CREATE TABLE ledger (
    entry INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL REFERENCES authorisations (key),
    account TEXT NOT NULL REFERENCES accounts (id),
    amount INTEGER NOT NULL,          -- minor units, negative where money leaves
    currency TEXT NOT NULL,
    at INTEGER NOT NULL
);

INSERT INTO accounts (id, opened_at) VALUES ('shop', 0);
