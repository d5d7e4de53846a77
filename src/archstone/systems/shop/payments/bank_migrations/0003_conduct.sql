-- How it behaves, for who tries a shop out: also after the shop was killed, since a bank is another house.

CREATE TABLE conduct (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    mode TEXT NOT NULL CHECK (mode IN ('well', 'slow', 'failing', 'dead'))
);

INSERT INTO conduct (id, mode) VALUES (1, 'well');
