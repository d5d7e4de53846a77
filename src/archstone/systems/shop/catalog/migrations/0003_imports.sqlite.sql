-- Catalogues that are imported: rows arrive unseen, and one statement shows all of them.
--
-- A row of products is a version of a product. It is seen if it had arrived when the shelf was last switched
-- (id <= shelf.top) and nothing that is seen replaces it. So an import that dies leaves rows above `top` which nobody
-- sees, and switching is one UPDATE of one row.

CREATE TABLE versions (
    id INTEGER PRIMARY KEY,           -- in the order of arrival, and the row of the search index
    place INTEGER NOT NULL,           -- order of the shelf; a new version keeps it
    sku TEXT NOT NULL,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),   -- minor units
    currency TEXT NOT NULL DEFAULT 'EUR',
    description TEXT NOT NULL,
    images TEXT NOT NULL DEFAULT '[]',            -- JSON: addresses of pictures elsewhere
    pieces INTEGER,                   -- what the file said there are; the inventory keeps the stock. NULL: no file
    replaced_by INTEGER               -- id of the next version, NULL: none has arrived
);

INSERT INTO versions (id, place, sku, name, category, amount, currency, description)
    SELECT id, id, sku, name, category, amount, currency, description FROM products;

DROP TABLE search;
DROP TABLE products;
ALTER TABLE versions RENAME TO products;

CREATE UNIQUE INDEX newest_of_sku ON products (sku) WHERE replaced_by IS NULL;
CREATE INDEX products_of_sku ON products (sku, id);
CREATE INDEX products_on_shelf ON products (place);
CREATE INDEX products_of_category ON products (category, place);
CREATE INDEX products_replaced ON products (replaced_by) WHERE replaced_by IS NOT NULL;

CREATE VIRTUAL TABLE search USING fts5 (
    name, category, description,
    content = 'products', content_rowid = 'id', columnsize = 0,
    tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3'
);
INSERT INTO search (search) VALUES ('rebuild');

CREATE TABLE shelf (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    top INTEGER NOT NULL              -- the highest id that is seen
);
INSERT INTO shelf (one, top) SELECT 1, coalesce(max(id), 0) FROM products;

ALTER TABLE categories ADD COLUMN products INTEGER NOT NULL DEFAULT 0;   -- how many are seen
UPDATE categories SET products = (SELECT count(*) FROM products WHERE category = categories.id);

CREATE TABLE imports (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'clearing', 'announcing', 'done', 'dropped')),
    base INTEGER NOT NULL,            -- shelf.top when it began: its rows are above
    top INTEGER NOT NULL,             -- the highest of its rows that is seen; base until it is switched
    announced INTEGER NOT NULL,       -- the inventory has been told of its rows up to this one
    added INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    unchanged INTEGER NOT NULL DEFAULT 0,
    touched_at INTEGER NOT NULL       -- microseconds: when it last did anything
);

CREATE TABLE category_changes (
    category TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    change INTEGER NOT NULL           -- products more, or less, once the open import is switched
) WITHOUT ROWID;
