"""The embedded engine: SQLite in WAL mode, one writer, group commit, durable and fast in one process.

`line` gives everybody a turn, `writer` commits groups, `member` is a transaction in a group, `readers` reads
snapshots, `pin` copies one, `lock` keeps other processes out, `files` knows disks, `translate` turns driver errors
into ours, and `engine` joins them.
"""

from archstone.data.engines.sqlite.engine import SqliteEngine, engine_of

__all__ = ["SqliteEngine", "engine_of"]
