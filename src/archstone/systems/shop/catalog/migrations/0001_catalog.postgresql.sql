-- Products, their categories, and what is bought together. Texts that are sorted compare by bytes, as on SQLite.

CREATE TABLE categories (
    id TEXT COLLATE "C" PRIMARY KEY,
    title TEXT COLLATE "C" NOT NULL
);

CREATE TABLE products (
    id BIGINT PRIMARY KEY,            -- order of the shelf
    sku TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    category TEXT NOT NULL REFERENCES categories (id),
    amount BIGINT NOT NULL CHECK (amount > 0),    -- minor units
    currency TEXT NOT NULL DEFAULT 'EUR',
    description TEXT NOT NULL
);

-- 0002 is one text for both databases, and what it says here is meant for the index of SQLite. Ours comes in 0003.
CREATE TABLE search (search TEXT);

CREATE TABLE bought_together (
    sku TEXT NOT NULL,
    other TEXT NOT NULL,
    orders BIGINT NOT NULL,
    PRIMARY KEY (sku, other)
);
