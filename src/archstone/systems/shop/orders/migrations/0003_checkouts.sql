-- Checkouts that go by events, and until when each must have come to an end. Those of sagas are in the sagas' table.

CREATE TABLE checkouts (
    order_id TEXT PRIMARY KEY,
    due_at BIGINT,                    -- microseconds; null: it has ended
    turns INTEGER NOT NULL DEFAULT 0  -- how often it was turned back; above 0 it is not confirmed any more
);

CREATE INDEX checkouts_due ON checkouts (due_at) WHERE due_at IS NOT NULL;
