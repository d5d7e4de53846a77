-- Who may trade, and with which browsers they are signed in. The token itself is in the cookie only; here is its SHA-256.

CREATE TABLE accounts (
    number INTEGER PRIMARY KEY,       -- as the venue knows it, from 1001 on
    email TEXT UNIQUE,                -- lower case; NULL: a trial account
    name TEXT NOT NULL,
    password_hash TEXT,               -- NULL: a trial account
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL       -- microseconds
);

CREATE TABLE sessions (
    mark TEXT PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts (number),
    begun_at INTEGER NOT NULL         -- microseconds
) WITHOUT ROWID;

CREATE INDEX sessions_of_account ON sessions (account, begun_at);
CREATE INDEX sessions_by_age ON sessions (begun_at);
