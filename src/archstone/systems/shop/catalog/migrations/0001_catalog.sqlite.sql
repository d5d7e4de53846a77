-- Products, their categories, the search index over them, and what is bought together.

CREATE TABLE categories (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE products (
    id INTEGER PRIMARY KEY,           -- order of the shelf, and the row of the search index
    sku TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    category TEXT NOT NULL REFERENCES categories (id),
    amount INTEGER NOT NULL CHECK (amount > 0),   -- minor units
    currency TEXT NOT NULL DEFAULT 'EUR',
    description TEXT NOT NULL
);

CREATE INDEX products_of_category ON products (category, id);

CREATE VIRTUAL TABLE search USING fts5 (
    name, category, description,
    content = 'products', content_rowid = 'id',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);

CREATE TABLE bought_together (
    sku TEXT NOT NULL,
    other TEXT NOT NULL,
    orders INTEGER NOT NULL,
    PRIMARY KEY (sku, other)
) WITHOUT ROWID;
