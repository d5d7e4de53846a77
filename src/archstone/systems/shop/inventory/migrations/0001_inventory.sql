-- Stock, and who holds some of it. For every product: free + held + sold = initial, and nothing below zero.

CREATE TABLE stock (
    sku TEXT PRIMARY KEY,
    free INTEGER NOT NULL CHECK (free >= 0),
    held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    sold INTEGER NOT NULL DEFAULT 0 CHECK (sold >= 0),
    initial INTEGER NOT NULL CHECK (initial = free + held + sold)
) WITHOUT ROWID;

CREATE TABLE reservations (
    order_id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('held', 'sold', 'expired', 'released')),
    lines TEXT NOT NULL,              -- JSON; empty when it was released before it was made
    expires_at INTEGER NOT NULL,      -- microseconds; counts while held
    at INTEGER NOT NULL               -- microseconds of the last change
) WITHOUT ROWID;

CREATE INDEX reservations_to_expire ON reservations (expires_at) WHERE state = 'held';
