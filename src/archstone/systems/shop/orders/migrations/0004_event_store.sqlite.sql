-- The history of orders moves to the event store, each event with its number, its cause and its place among all.

INSERT INTO _archstone_events (position, stream, version, size, kinds, payloads, headers, at)
SELECT position, 'order/' || stream, version, 1, type || ' ' || type_version,
    CAST(data AS BLOB), CAST(metadata AS BLOB), at
FROM events ORDER BY position;

DROP TABLE events;

-- An event per row, for those who look at the history from outside.
CREATE VIEW events AS
SELECT position, substr(stream, 7) AS stream, version, substr(kinds, 1, instr(kinds, ' ') - 1) AS type,
    CAST(payloads AS TEXT) AS data, CAST(headers AS TEXT) AS metadata, at
FROM _archstone_events WHERE stream LIKE 'order/%';

-- Made anew from the history, as a projection.
DROP TABLE order_lines;
DROP TABLE order_search;
DROP TABLE indexed;
