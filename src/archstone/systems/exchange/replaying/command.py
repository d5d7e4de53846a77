"""What `archstone replay exchange FILE` does: a file through an exchange of its own, in this process."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from archstone.errors import ConfigError
from archstone.systems.exchange.replaying.itch import ItchReader
from archstone.systems.exchange.replaying.lobster import LobsterReader, orderbook_of
from archstone.systems.exchange.replaying.replay import Report, replay
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.venue import venue

__all__ = ["ReplayOptions", "run_replay", "shown"]


class ReplayOptions(NamedTuple):
    """How a file is to be replayed."""

    speed: float | None = None
    """None: as fast as it goes."""
    check: bool = False
    batch: int = 1_000
    symbols: frozenset[str] = frozenset()
    """Of an ITCH file; empty: all."""


async def run_replay(file: Path, options: ReplayOptions, tell: Callable[[Report, float], None]) -> Report:
    """Replay a file and return what came of it; `tell` is given how much of the file is read, in [0, 1].

    Raises:
        ConfigError: There is no such file, or stocks are named for one that has only one.
        DamagedFileError: It is no file of either format, or not all of it is.
    """
    reader = _reader(file, options)
    made = venue()

    def told(report: Report) -> None:
        tell(report, reader.source.read_bytes / max(1, reader.source.size_bytes))

    report = await replay(
        reader, MemorySequencer(made, keep=1), depths=made if options.check else None,
        batch=options.batch, speed=options.speed, tell=told,
    )  # fmt: skip

    report.venue = type(made).__name__
    return report


def _reader(file: Path, options: ReplayOptions) -> ItchReader | LobsterReader:
    """Return what reads a file: LOBSTER's are CSV and called so, all else is ITCH."""
    if not file.is_file():
        raise ConfigError(f"{file}: there is no such file")
    if ".csv" not in file.suffixes:
        return ItchReader(file, symbols=options.symbols)
    if "_orderbook_" in file.name:
        raise ConfigError(f"{file.name} has the rows of the book: name the file with _message_ that belongs to it")
    if options.symbols:
        raise ConfigError(f"{file.name} is of one stock: leave --symbol out")
    orderbook = orderbook_of(file)
    if options.check and orderbook is None:
        raise ConfigError(
            f"{file.name}: --check needs the orderbook file beside it, named with _orderbook_ in its place"
        )
    return LobsterReader(file, orderbook)


def shown(report: Report) -> Mapping[str, Any]:
    """Return a report for people and programs."""
    took = {f"p{name}_us": round(report.latencies.percentile(ratio) * 1e6, 1)
            for name, ratio in (("50", 0.5), ("99", 0.99), ("99.9", 0.999))}  # fmt: skip
    return {
        "venue": report.venue,
        "messages": report.messages,
        "commands": report.commands,
        "trades": report.trades,
        "books": report.books,
        "kinds": {kind.name.lower(): count for kind, count in report.counts.most_common()},
        "lost": dict(report.lost),
        "adopted": report.adopted,
        "compared": report.compared,
        "faults": report.faults,
        "elapsed_s": round(report.elapsed_s, 3),
        "messages_per_s": round(report.messages_per_s),
        **took,
    }
