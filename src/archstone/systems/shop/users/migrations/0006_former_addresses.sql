-- Addresses that accounts have left a short while ago: held for the way back, so that nobody else takes them meanwhile.

CREATE TABLE former_addresses (
    email TEXT PRIMARY KEY,           -- lower case
    user_id TEXT NOT NULL REFERENCES users (id),
    changed_at INTEGER NOT NULL,      -- microseconds
    until INTEGER NOT NULL            -- microseconds, when the way back ends
) WITHOUT ROWID;

CREATE INDEX former_addresses_of_user ON former_addresses (user_id, changed_at);
CREATE INDEX former_addresses_by_end ON former_addresses (until);
