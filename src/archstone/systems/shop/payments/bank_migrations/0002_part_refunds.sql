-- What was captured can be given back in parts: a refund has an id of its own, which for the whole is the key.

CREATE TABLE part_refunds (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL REFERENCES captures (key),
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    at INTEGER NOT NULL               -- microseconds
) WITHOUT ROWID;

INSERT INTO part_refunds (id, key, amount, currency, at) SELECT key, key, amount, currency, at FROM refunds;
DROP TABLE refunds;
ALTER TABLE part_refunds RENAME TO refunds;

CREATE INDEX refunds_of_key ON refunds (key);
