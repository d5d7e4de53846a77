"""All doors of programs at once: orders by the binary protocol and by FIX, market data by multicast.

    async with Doors(sequencer, identify, listed, folder=data / "doors") as doors:
        doors.binary.port

What was read of the stream is kept in the folder now and then, so that a start goes on from there: the sequencer need
not keep all its commands for ever.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from archstone.observability import get_logger
from archstone.systems.exchange.entry.binary.server import BinaryServer
from archstone.systems.exchange.entry.fix.orders import Listed
from archstone.systems.exchange.entry.fix.server import FixServer
from archstone.systems.exchange.entry.reports import Reports
from archstone.systems.exchange.entry.who import Identify
from archstone.systems.exchange.feed import BookImage, Feed, Group, Publisher, Recovery, multicast
from archstone.systems.exchange.sequencer import Sequencer

__all__ = ["DoorSettings", "Doors"]

_log: Final = get_logger("archstone.systems.exchange")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """Where the doors are. A port that is None is no door; 0 is any that is free."""

    host: str = "127.0.0.1"
    """Where orders and requests for market data are listened for."""
    binary_port: int | None = 7_100
    fix_port: int | None = None
    """FIX needs the package simplefix."""
    recovery_port: int | None = 7_102
    """Without it no market data are sent either: nobody could begin to read them."""
    group: Group = field(default_factory=Group)
    conflate_s: float | None = None
    """See `Publisher`."""
    keep_s: float = 60.0
    """Between two times that what was read is kept in the folder."""


class Doors:
    """Made once per run."""

    def __init__(
        self,
        sequencer: Sequencer,
        identify: Identify,
        listed: Iterable[Listed],
        *,
        folder: Path | None = None,
        settings: DoorSettings | None = None,
    ) -> None:
        """Name what is behind them; nothing is opened before they are entered.

        Args:
            sequencer: What does requests, and whose stream is told.
            identify: Whose a credential is; the account must be one that the venue knows.
            listed: The books, as FIX calls them.
            folder: Where what was read is kept. None: nowhere; the stream is read from its beginning at each start.
            settings: Which doors there are.
        """
        self.settings = settings or DoorSettings()
        self.reports = Reports(sequencer)
        self.feed = Feed(sequencer)
        self.binary: BinaryServer | None = None
        self.fix: FixServer | None = None
        self.publisher: Publisher | None = None
        self.recovery: Recovery | None = None
        self._sequencer, self._identify, self._listed, self._folder = sequencer, identify, tuple(listed), folder
        self._life = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Read what there is, then open."""
        async with contextlib.AsyncExitStack() as life:
            if self._folder is not None:
                self._take_up(self._folder)
                life.callback(self._keep, self._folder)
            await life.enter_async_context(self.reports)
            await life.enter_async_context(self.feed)
            await self._open(life)
            if self._folder is not None:
                keeping = asyncio.create_task(self._keep_on(self._folder), name="keep what doors have read")
                life.callback(keeping.cancel)
            self._life = life.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the doors, and keep what was read."""
        await self._life.__aexit__(kind, error, trace)

    async def _open(self, life: contextlib.AsyncExitStack) -> None:
        settings, behind = self.settings, (self._sequencer, self.reports, self._identify)
        if (port := settings.recovery_port) is not None:
            send, close = multicast.sender(settings.group)
            life.callback(close)
            publisher = Publisher(self.feed, send, conflate_s=settings.conflate_s)
            self.publisher = await life.enter_async_context(publisher)
            self.recovery = await life.enter_async_context(Recovery(publisher, host=settings.host, port=port))
        if (port := settings.binary_port) is not None:
            self.binary = await life.enter_async_context(BinaryServer(*behind, host=settings.host, port=port))
        if (port := settings.fix_port) is not None:
            self.fix = await life.enter_async_context(FixServer(*behind, self._listed, host=settings.host, port=port))

    def _take_up(self, folder: Path) -> None:
        for name, take_up in (("reports", self._take_up_reports), ("image", self._take_up_image)):
            try:
                take_up((folder / name).read_bytes())
            except FileNotFoundError:
                continue
            except ValueError as error:
                _log.warning("what doors had read is passed over: the stream is read anew", file=name, error=error)

    def _take_up_reports(self, kept: bytes) -> None:
        reports = Reports(self._sequencer)
        reports.load(kept)
        if reports.sequence <= self._sequencer.last:
            self.reports = reports

    def _take_up_image(self, kept: bytes) -> None:
        image = BookImage.load(kept)
        if image.sequence <= self._sequencer.last:
            self.feed = Feed(self._sequencer, image=image)

    async def _keep_on(self, folder: Path) -> None:
        while True:
            await asyncio.sleep(self.settings.keep_s)
            self._keep(folder)

    def _keep(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, kept in (("reports", self.reports.dump()), ("image", self.feed.image.dump())):
            aside = folder / f"{name}.aside"
            with aside.open("wb") as file:
                file.write(kept)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(folder / name)
