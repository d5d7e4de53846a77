-- Who is signed in with which browser. The token itself is in the browser's cookie only; here is its SHA-256.

CREATE TABLE browser_sessions (
    mark TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    begun_at INTEGER NOT NULL,        -- microseconds
    seen_at INTEGER NOT NULL          -- microseconds, at most a day behind
) WITHOUT ROWID;

CREATE INDEX browser_sessions_of_user ON browser_sessions (user_id, seen_at);
CREATE INDEX browser_sessions_by_age ON browser_sessions (seen_at);
