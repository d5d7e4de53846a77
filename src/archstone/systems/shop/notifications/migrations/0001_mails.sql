-- Which mails were handed over. The mailer itself knows them by their id.

CREATE TABLE mails (
    id TEXT PRIMARY KEY,              -- of the event that it tells of
    order_id TEXT NOT NULL,
    recipient TEXT NOT NULL,          -- an address
    subject TEXT NOT NULL,
    about TEXT NOT NULL,
    sent_at INTEGER NOT NULL          -- microseconds
) WITHOUT ROWID;

CREATE INDEX mails_of_order ON mails (order_id, sent_at, id);
