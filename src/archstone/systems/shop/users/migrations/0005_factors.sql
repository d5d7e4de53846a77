-- Second factors. Secrets of apps are sealed under a key outside of the database, backup codes hashed as passwords are.

CREATE TABLE totp_factors (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    secret BLOB NOT NULL,             -- sealed
    last_step INTEGER NOT NULL,       -- of the last code that was used: no older one is accepted
    added_at INTEGER NOT NULL         -- microseconds
) WITHOUT ROWID;

CREATE TABLE backup_codes (
    user_id TEXT NOT NULL REFERENCES users (id),
    slot TEXT NOT NULL,               -- the first letter of the code
    hash TEXT NOT NULL,               -- argon2id
    PRIMARY KEY (user_id, slot)
) WITHOUT ROWID;

CREATE TABLE passkeys (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    credential BLOB NOT NULL UNIQUE,
    public_key BLOB NOT NULL,
    sign_count INTEGER NOT NULL,
    name TEXT NOT NULL,
    added_at INTEGER NOT NULL,        -- microseconds
    used_at INTEGER                   -- microseconds; null: never
) WITHOUT ROWID;

CREATE INDEX passkeys_of_user ON passkeys (user_id, added_at);

-- Ceremonies of passkeys that were answered: none is answered twice.
CREATE TABLE used_ceremonies (
    mark TEXT PRIMARY KEY,            -- SHA-256
    until INTEGER NOT NULL            -- microseconds, when it would have ended anyway
) WITHOUT ROWID;

-- Where somebody has signed in before. Strangers who guess passwords do not lock the owner out there.
CREATE TABLE known_places (
    user_id TEXT NOT NULL REFERENCES users (id),
    place TEXT NOT NULL,              -- a keyed hash of the address
    seen_at INTEGER NOT NULL,         -- microseconds
    PRIMARY KEY (user_id, place)
) WITHOUT ROWID;

ALTER TABLE browser_sessions ADD COLUMN proved_at INTEGER NOT NULL DEFAULT 0;   -- microseconds
