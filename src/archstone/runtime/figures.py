"""What `/metrics` tells of a running system beside what each block counts by itself."""

from typing import TYPE_CHECKING, Final

from archstone.observability import gauge, lines_lost, render
from archstone.runtime.wiring import Parts

if TYPE_CHECKING:
    from archstone.runtime.embedded import Embedded

__all__ = ["Figures"]

_READY: Final = gauge("archstone_ready", "1 once requests may come, 0 before and while draining.")
_SAGAS_RUNNING: Final = gauge("archstone_sagas_running", "Sagas that have not ended.", ("service",))
_SAGAS_WAITING: Final = gauge("archstone_sagas_waiting", "Sagas that have no place in memory yet.", ("service",))
_SAGAS_STUCK: Final = gauge("archstone_sagas_stuck", "Sagas that wait for a person.", ("service",))
_COMMITS: Final = gauge("archstone_database_commits", "Groups committed since the start.", ("database",))
_MEMBERS: Final = gauge("archstone_database_transactions", "Transactions in those groups.", ("database",))
_LOST: Final = gauge("archstone_database_lost_groups", "Groups rolled back as a whole.", ("database",))
_WAL: Final = gauge("archstone_database_wal_bytes", "Size of the write-ahead log.", ("database",))
_LINES_LOST: Final = gauge("archstone_log_lines_lost", "Log lines that could not be written.")
_SPANS_LOST: Final = gauge("archstone_spans_lost", "Spans lost because a buffer was full.")


class Figures:
    """Reads the statistics of every part when asked, so that nothing is counted twice on a hot path."""

    def __init__(self, embedded: "Embedded", parts: Parts) -> None:
        self._embedded = embedded
        self._parts = parts

    def render(self) -> str:
        """Return all metrics in Prometheus' text format."""
        _READY.set(float(self._embedded.ready))
        _LINES_LOST.set(lines_lost())
        _SPANS_LOST.set(self._embedded.spans.dropped)
        for name, part in self._parts.services.items():
            if part.dispatcher.sagas is not None:
                sagas = part.dispatcher.sagas.statistics()
                _SAGAS_RUNNING.labels(name).set(sagas.running)
                _SAGAS_STUCK.labels(name).set(sagas.stuck)
                _SAGAS_WAITING.labels(name).set(sagas.waiting)
        for name, database in self._parts.databases.items():
            counted = database.statistics()
            _COMMITS.labels(name).set(counted.commits)
            _MEMBERS.labels(name).set(counted.members)
            _LOST.labels(name).set(counted.lost_groups)
            _WAL.labels(name).set(counted.wal_bytes)
        return render()
