-- A parcel per order, and when its next move is due.

CREATE TABLE shipments (
    order_id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('created', 'ready', 'packed', 'shipped', 'delivered', 'cancelled')),
    address TEXT NOT NULL,            -- JSON; empty when it was cancelled before it was made out
    moved_at INTEGER NOT NULL,        -- microseconds
    due_at INTEGER                    -- microseconds; null while nothing is due
) WITHOUT ROWID;

CREATE INDEX shipments_due ON shipments (due_at) WHERE due_at IS NOT NULL;
