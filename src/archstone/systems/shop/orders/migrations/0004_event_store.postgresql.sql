-- The history of orders is in the event store. No shop on PostgreSQL has ever had it elsewhere.

DROP TABLE events;

-- An event per row, for those who look at the history from outside.
CREATE VIEW events AS
SELECT position, substr(stream, 7) AS stream, version, split_part(kinds, ' ', 1) AS type,
    convert_from(payloads, 'UTF8') AS data, convert_from(headers, 'UTF8') AS metadata, at
FROM _archstone_events WHERE stream LIKE 'order/%';
