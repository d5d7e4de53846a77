"""Servers for the benchmarks: for each contender a PostgreSQL of its own, durable, from the wheel of the dev group."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = {"shared_buffers": "128MB", "max_connections": "200", "fsync": "on", "synchronous_commit": "on"}


@contextmanager
def postgres(**settings: str) -> Iterator[str]:
    """Give the URL of an empty database on a server that syncs each commit, with further settings."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
    from postgres import postgres_server

    with postgres_server(SETTINGS | settings) as server:
        yield server.new_database()
