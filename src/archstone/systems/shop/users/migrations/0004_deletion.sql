-- Accounts whose owner has deleted them: a row with an id, for the orders that name it, and nothing about a person.

ALTER TABLE users ADD COLUMN deleted_at INTEGER;   -- microseconds; null: it stands
