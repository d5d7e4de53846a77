-- Shelves by price, as far as a page shows: each way is an index, and the row tells those alike apart. Names: 0007.

CREATE INDEX products_by_price ON products (amount);
CREATE INDEX products_of_category_by_price ON products (category, amount);
