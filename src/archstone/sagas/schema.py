"""The tables of an engine.

`_archstone_sagas` has a row per saga, `_archstone_saga_journal` what each remembers. The last entries of a saga go
into its own row (`tail`) with its end, so that ending is one statement; so do the first (`head`) of one that begins
together with its row. `_archstone_saga_signals` has what was sent to each. All are swept by age.

| status | meaning |
| --- | --- |
| `running` | ready: at work in memory, or about to be |
| `asleep` | waits for something, and is not in memory: `wake_us` says until when, NULL for as long as it takes |
| `queued`, `delayed` | has not begun, see `queue_rows` |
| `stuck` | waits for a person |
| `done`, `failed` | has ended |

Where several processes share the database each is a worker with a number of its own, and `worker` is the one that has a
running saga: it alone writes its row and its journal. 0 is nobody, or the one process that owns the file. `asked` says
who wants a saga cancelled that another process has.
"""

from typing import Final

from archstone.data import Schema

__all__ = ["SCHEMA"]

SCHEMA: Final = Schema(
    "sagas",
    (
        (
            """CREATE TABLE _archstone_sagas (
                number INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                engine TEXT NOT NULL,
                method TEXT NOT NULL,
                version INTEGER NOT NULL,
                status TEXT NOT NULL,
                arguments BLOB NOT NULL,
                headers BLOB NOT NULL,
                started_us INTEGER NOT NULL,
                finished_us INTEGER,
                answer BLOB,
                tail BLOB,
                attempts INTEGER NOT NULL DEFAULT 0,
                why TEXT
            )""",
            # Only sagas that are not finished are in it: small, and a finished saga costs nothing.
            "CREATE INDEX _archstone_sagas_live ON _archstone_sagas (status) WHERE finished_us IS NULL",
            """CREATE TABLE _archstone_saga_journal (
                saga TEXT NOT NULL,
                position INTEGER NOT NULL,
                entries BLOB NOT NULL,
                PRIMARY KEY (saga, position)
            ) WITHOUT ROWID""",
        ),
        ("ALTER TABLE _archstone_sagas ADD COLUMN head BLOB",),
        (
            # Rows in the order of writing, and small keys in an index: by the saga's id the rows of sagas that are
            # alive lay on a page each, and a commit wrote three pages for each row.
            "ALTER TABLE _archstone_saga_journal RENAME TO _archstone_saga_journal_by_id",
            """CREATE TABLE _archstone_saga_journal (
                number INTEGER PRIMARY KEY,
                saga INTEGER NOT NULL,
                position INTEGER NOT NULL,
                entries BLOB NOT NULL
            )""",
            """INSERT INTO _archstone_saga_journal (saga, position, entries)
                SELECT saga.number, old.position, old.entries FROM _archstone_saga_journal_by_id AS old
                JOIN _archstone_sagas AS saga ON saga.id = old.saga ORDER BY saga.number, old.position""",
            "CREATE UNIQUE INDEX _archstone_saga_journal_place ON _archstone_saga_journal (saga, position)",
            "DROP TABLE _archstone_saga_journal_by_id",
        ),
        (
            "ALTER TABLE _archstone_sagas ADD COLUMN wake_us INTEGER",
            "CREATE INDEX _archstone_sagas_wake ON _archstone_sagas (wake_us) WHERE wake_us IS NOT NULL",
            "ALTER TABLE _archstone_sagas ADD COLUMN parent TEXT",
            "ALTER TABLE _archstone_sagas ADD COLUMN forked_from TEXT",
            "CREATE INDEX _archstone_sagas_forks ON _archstone_sagas (forked_from) WHERE forked_from IS NOT NULL",
            """CREATE TABLE _archstone_saga_signals (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                saga INTEGER NOT NULL,
                name TEXT NOT NULL,
                key TEXT NOT NULL,
                value BLOB NOT NULL,
                sent_us INTEGER NOT NULL,
                taken INTEGER NOT NULL DEFAULT 0
            )""",
            "CREATE UNIQUE INDEX _archstone_saga_signals_key ON _archstone_saga_signals (saga, name, key)",
            """CREATE INDEX _archstone_saga_signals_unread ON _archstone_saga_signals (saga, name, number)
                WHERE taken = 0""",
        ),
        (
            "ALTER TABLE _archstone_sagas ADD COLUMN queue TEXT",
            "ALTER TABLE _archstone_sagas ADD COLUMN queue_key TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE _archstone_sagas ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE _archstone_sagas ADD COLUMN turn INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE _archstone_sagas ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0",
            # Of sagas in queues only, and of those that have left one and not ended.
            """CREATE INDEX _archstone_sagas_line ON _archstone_sagas (queue, priority DESC, turn, number)
                WHERE status = 'queued'""",
            """CREATE INDEX _archstone_sagas_front ON _archstone_sagas (queue, priority DESC, turn, number)
                WHERE cleared = 1 AND status = 'queued'""",
            """CREATE INDEX _archstone_sagas_keys ON _archstone_sagas (queue, queue_key, priority DESC, turn, number)
                WHERE status = 'queued'""",
            """CREATE INDEX _archstone_sagas_cleared ON _archstone_sagas (queue, queue_key)
                WHERE cleared = 1 AND finished_us IS NULL""",
            """CREATE INDEX _archstone_sagas_begun ON _archstone_sagas (queue, status)
                WHERE cleared = 1 AND finished_us IS NULL""",
        ),
        (
            "ALTER TABLE _archstone_sagas ADD COLUMN worker INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE _archstone_sagas ADD COLUMN asked TEXT",
            """CREATE TABLE _archstone_saga_workers (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                engine TEXT NOT NULL,
                name TEXT NOT NULL UNIQUE,
                beat INTEGER NOT NULL DEFAULT 0
            )""",
        ),
    ),
)
