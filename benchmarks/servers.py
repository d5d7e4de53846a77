"""Servers for the benchmarks: for each contender a server of its own, from the wheels of the dev group."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from valkey_for_tests import ValkeyServer

SETTINGS = {"shared_buffers": "128MB", "max_connections": "200", "fsync": "on", "synchronous_commit": "on"}


@contextmanager
def postgres(**settings: str) -> Iterator[str]:
    """Give the URL of an empty database on a server that syncs each commit, with further settings."""
    _find_support()
    from postgres import postgres_server

    with postgres_server(SETTINGS | settings) as server:
        yield server.new_database()


@contextmanager
def valkey() -> "Iterator[ValkeyServer]":
    """Give an empty Valkey server that keeps nothing on disk."""
    _find_support()
    from valkey_for_tests import valkey_server

    with valkey_server() as server:
        yield server


class Spent:
    """Processor time of this process and of a Valkey server since it was made."""

    def __init__(self, server: "ValkeyServer") -> None:
        self._server = server
        self._begun = self._now()

    def each(self, count: int) -> dict[str, object]:
        """Return what each of `count` calls took here and there, microseconds, as details of a figure."""
        here, there = (now - begun for now, begun in zip(self._now(), self._begun, strict=True))
        return {"us_here": f"{here / count * 1e6:.1f}", "us_on_server": f"{there / count * 1e6:.1f}"}

    def _now(self) -> tuple[float, float]:
        here = time.process_time()
        lines = (line.partition(":") for line in self._server.cli("info", "cpu").splitlines())
        return here, sum(float(value) for name, _, value in lines if name in {"used_cpu_user", "used_cpu_sys"})


def _find_support() -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
