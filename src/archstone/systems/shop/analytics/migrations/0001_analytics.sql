-- Counts, made from events alone.

CREATE TABLE minutes (
    minute INTEGER NOT NULL,          -- minutes since the Unix epoch
    currency TEXT NOT NULL,
    placed INTEGER NOT NULL DEFAULT 0,
    confirmed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    revenue INTEGER NOT NULL DEFAULT 0,   -- minor units; a cancelled order takes back what it brought
    PRIMARY KEY (minute, currency)
) WITHOUT ROWID;

CREATE TABLE products (
    sku TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    pieces INTEGER NOT NULL,
    revenue INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX products_by_revenue ON products (revenue, sku);
