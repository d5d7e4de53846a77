-- What is in the ledger stays as it is.

CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN
    SELECT RAISE(ABORT, 'entries are never changed: reverse one instead');
END;
CREATE TRIGGER entries_remain BEFORE DELETE ON entries BEGIN
    SELECT RAISE(ABORT, 'entries are never deleted: reverse one instead');
END;
CREATE TRIGGER transfers_stay BEFORE UPDATE ON transfers BEGIN
    SELECT RAISE(ABORT, 'transfers are never changed: reverse their entry instead');
END;
CREATE TRIGGER transfers_remain BEFORE DELETE ON transfers BEGIN
    SELECT RAISE(ABORT, 'transfers are never deleted: reverse their entry instead');
END;
