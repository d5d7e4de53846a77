-- So that an address can be taken out of them all when its owner deletes the account.

CREATE INDEX mails_by_recipient ON mails (recipient);
