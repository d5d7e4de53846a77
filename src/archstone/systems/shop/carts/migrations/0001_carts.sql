-- Who has a cart and what is in it. Prices are not kept: they are those of the catalog when the cart is looked at.

CREATE TABLE carts (
    owner TEXT PRIMARY KEY,           -- a user's id, or of a guest's cart the SHA-256 of its name, in hex
    guest INTEGER NOT NULL,           -- 1: of a guest
    touched_at INTEGER NOT NULL       -- microseconds: when it was last changed
) WITHOUT ROWID;

CREATE INDEX guest_carts_by_age ON carts (touched_at) WHERE guest = 1;

CREATE TABLE lines (
    owner TEXT NOT NULL REFERENCES carts (owner) ON DELETE CASCADE,
    sku TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    added_at INTEGER NOT NULL,        -- microseconds
    PRIMARY KEY (owner, sku)
) WITHOUT ROWID;

-- How many carts of guests there are, so that their bound costs no count.
CREATE TABLE guests (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    carts INTEGER NOT NULL CHECK (carts >= 0)
);

INSERT INTO guests (id, carts) VALUES (1, 0);
