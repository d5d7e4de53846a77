-- The ledger. An entry is a fact; its transfers say what went from whom to whom. A transfer is one row with both of its
-- legs, so that no entry can be out of balance: whatever rows there are, the legs of each asset sum to zero.
-- Rows are only ever added (0002): a correction is an entry that reverses another.

CREATE TABLE entries (
    position INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('trade', 'payment', 'settlement', 'reversal')),
    ref TEXT NOT NULL UNIQUE,         -- trade/SEQUENCE/NUMBER, payment/SEQUENCE, settlement/DAY/POSITION, reversal/POSITION
    sequence INTEGER,                 -- of the command; null where none is
    at INTEGER NOT NULL,              -- microseconds
    day INTEGER NOT NULL,             -- the trade date: days since 1970, UTC
    due INTEGER NOT NULL,             -- the settlement date, likewise
    book INTEGER,
    price INTEGER,                    -- ticks
    lots INTEGER,
    reverses INTEGER UNIQUE REFERENCES entries (position),
    reason TEXT,
    by TEXT                           -- who has corrected
);

CREATE INDEX entries_by_sequence ON entries (sequence);

CREATE TABLE transfers (
    entry INTEGER NOT NULL REFERENCES entries (position),
    line INTEGER NOT NULL,
    from_account INTEGER NOT NULL,    -- 0: outside; -1: the house
    from_purse TEXT NOT NULL CHECK (from_purse IN ('pending', 'settled', 'fees', 'corrections')),
    to_account INTEGER NOT NULL,
    to_purse TEXT NOT NULL CHECK (to_purse IN ('pending', 'settled', 'fees', 'corrections')),
    asset TEXT NOT NULL,              -- cash, or the number of a book
    amount INTEGER NOT NULL CHECK (amount > 0),
    PRIMARY KEY (entry, line),
    CHECK (from_account <> to_account OR from_purse <> to_purse)
) WITHOUT ROWID;

CREATE INDEX transfers_from ON transfers (from_account, entry);
CREATE INDEX transfers_to ON transfers (to_account, entry);

CREATE VIEW legs AS
    SELECT entry, line, from_account AS account, from_purse AS purse, asset, -amount AS amount FROM transfers
    UNION ALL
    SELECT entry, line, to_account AS account, to_purse AS purse, asset, amount FROM transfers;

-- The sums of the legs. Pending ones by settlement date; due is 0 for all others.
CREATE TABLE balances (
    account INTEGER NOT NULL,
    purse TEXT NOT NULL,
    asset TEXT NOT NULL,
    due INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (account, purse, asset, due)
) WITHOUT ROWID;

CREATE INDEX balances_due ON balances (due, account, asset) WHERE purse = 'pending';

-- How far the tape is booked, and what came before its turn.
CREATE TABLE progress (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,          -- events up to this one are booked
    through INTEGER NOT NULL          -- and so are all facts of commands up to this one
);
INSERT INTO progress (one, number, through) VALUES (1, 0, 0);

CREATE TABLE early (
    number INTEGER NOT NULL PRIMARY KEY,
    through INTEGER NOT NULL
);
