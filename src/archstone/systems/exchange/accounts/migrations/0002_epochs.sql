-- How often all tokens of an account were ended. A token says of which epoch it is; the table of revocations says which are over.

ALTER TABLE accounts ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
