-- What was counted by hand and differed from the books. For every product: free + held + sold = initial + corrected.

CREATE TABLE corrected_stock (
    sku TEXT PRIMARY KEY,
    free INTEGER NOT NULL CHECK (free >= 0),
    held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    sold INTEGER NOT NULL DEFAULT 0 CHECK (sold >= 0),
    initial INTEGER NOT NULL,         -- what the shop began with and what has arrived since
    imported INTEGER NOT NULL DEFAULT 0,
    import INTEGER NOT NULL DEFAULT 0,
    corrected INTEGER NOT NULL DEFAULT 0,     -- sum of all corrections
    CHECK (initial + corrected = free + held + sold)
) WITHOUT ROWID;

INSERT INTO corrected_stock (sku, free, held, sold, initial, imported, import)
    SELECT sku, free, held, sold, initial, imported, import FROM stock;
DROP TABLE stock;
ALTER TABLE corrected_stock RENAME TO stock;

CREATE INDEX stock_by_free ON stock (free, sku);

CREATE TABLE corrections (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    sku TEXT NOT NULL,
    delta INTEGER NOT NULL,
    counted INTEGER,                  -- what was counted; null when the difference was given
    free INTEGER NOT NULL,            -- afterwards
    held INTEGER NOT NULL,
    reason TEXT NOT NULL,
    by TEXT NOT NULL,                 -- who was signed in
    at INTEGER NOT NULL               -- microseconds
);

CREATE INDEX corrections_of_sku ON corrections (sku, number);
