-- Shelves by price and by name, as far as a page shows: each way is an index, and the row tells those alike apart.
-- Names count by their first 24 characters, which is what a cursor can carry.

CREATE INDEX products_by_price ON products (amount);
CREATE INDEX products_of_category_by_price ON products (category, amount);
CREATE INDEX products_by_name ON products (substr(name, 1, 24) COLLATE NOCASE);
CREATE INDEX products_of_category_by_name ON products (category, substr(name, 1, 24) COLLATE NOCASE);
