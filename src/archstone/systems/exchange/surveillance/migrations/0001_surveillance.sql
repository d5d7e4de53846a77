-- What the stream has come to: candles, the last trades, alerts; and how far it is read, in the same transactions.

CREATE TABLE progress (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL,            -- number of the last command that is read
    warm INTEGER NOT NULL,            -- the commands after this one may matter for what rules find next
    at INTEGER NOT NULL,              -- nanoseconds: when the last command was done
    relations INTEGER NOT NULL        -- counts the changes of `relations`
);
INSERT INTO progress (one, last, warm, at, relations) VALUES (1, 0, 0, 0, 0);

CREATE TABLE candles (
    book INTEGER NOT NULL,
    seconds INTEGER NOT NULL,         -- length
    start INTEGER NOT NULL,           -- seconds since 1970
    open INTEGER NOT NULL,
    high INTEGER NOT NULL,
    low INTEGER NOT NULL,
    close INTEGER NOT NULL,
    lots INTEGER NOT NULL,
    turnover INTEGER NOT NULL,        -- sum of price times lots
    trades INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL,  -- of the command that made its first trade
    last_sequence INTEGER NOT NULL,
    PRIMARY KEY (book, seconds, start)
) WITHOUT ROWID;

CREATE INDEX candles_by_age ON candles (seconds, start);

CREATE TABLE trades (
    book INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    number INTEGER NOT NULL,          -- which of the command's trades
    at INTEGER NOT NULL,              -- nanoseconds
    price INTEGER NOT NULL,
    lots INTEGER NOT NULL,
    aggressor INTEGER NOT NULL,       -- 1: the buyer came second, 2: the seller; 0: auction
    PRIMARY KEY (book, sequence, number)
) WITHOUT ROWID;

CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rule TEXT NOT NULL,
    book INTEGER NOT NULL,
    account INTEGER NOT NULL,
    sequence INTEGER NOT NULL,        -- of the command that completed the pattern
    at INTEGER NOT NULL,              -- nanoseconds
    parameters TEXT NOT NULL,         -- JSON: of the rule, as it was then
    evidence TEXT NOT NULL,           -- JSON
    verdict TEXT CHECK (verdict IN ('abuse', 'harmless')),
    note TEXT,
    closed_by TEXT,
    closed_at INTEGER,                -- microseconds
    UNIQUE (rule, book, account, sequence)
);

CREATE INDEX alerts_open ON alerts (id) WHERE verdict IS NULL;
CREATE INDEX alerts_by_time ON alerts (at);

-- Accounts of one person, who must not trade with each other.
CREATE TABLE relations (
    account INTEGER NOT NULL PRIMARY KEY,
    person INTEGER NOT NULL
);
