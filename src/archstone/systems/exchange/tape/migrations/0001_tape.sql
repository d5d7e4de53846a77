-- How far the stream has been told, and what a lot of each book is worth. Both change with the events that are told.

CREATE TABLE progress (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL,            -- number of the last command whose facts are told
    number INTEGER NOT NULL           -- of the last event
);
INSERT INTO progress (one, last, number) VALUES (1, 0, 0);

CREATE TABLE books (
    book INTEGER NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL            -- of a lot per tick, in the smallest unit of money
);
