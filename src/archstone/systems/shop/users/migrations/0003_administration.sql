-- Accounts that are closed to signing in, and who changed whose rights.

ALTER TABLE users ADD COLUMN active INTEGER NOT NULL DEFAULT 1;

CREATE TABLE user_changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL REFERENCES users (id),
    what TEXT NOT NULL CHECK (what IN ('granted', 'withdrawn', 'deactivated', 'reactivated')),
    role TEXT NOT NULL,               -- empty: none is meant
    reason TEXT NOT NULL,             -- empty: none was given
    by TEXT NOT NULL,                 -- who was signed in, or what acted
    at INTEGER NOT NULL               -- microseconds
);

CREATE INDEX changes_of_user ON user_changes (user_id, number);
