-- Products that administrators edit: an edit is a version like those of an import, seen at once. See 0003.

ALTER TABLE products ADD COLUMN retired INTEGER NOT NULL DEFAULT 0;      -- 1: kept, and not for sale any more

CREATE INDEX products_retired ON products (place) WHERE retired = 1;

CREATE TABLE product_changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    sku TEXT NOT NULL,
    what TEXT NOT NULL CHECK (what IN ('created', 'updated', 'retired', 'restored')),
    fields TEXT NOT NULL,             -- JSON: [{"field": ..., "before": ..., "after": ...}]
    by TEXT NOT NULL,                 -- who was signed in
    at INTEGER NOT NULL               -- microseconds
);

CREATE INDEX changes_of_product ON product_changes (sku, number);
