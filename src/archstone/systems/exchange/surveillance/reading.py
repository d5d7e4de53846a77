"""Reads the stream for surveillance: candles, trades and findings, and how far it is, in one transaction.

The rules remember seconds, in memory. After a restart they are shown the commands of that time again, and nothing else
is made of those; so what they find does not depend on when somebody stopped.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final, NamedTuple

from archstone.data import Database, Transaction, TransactionLostError
from archstone.observability import get_logger
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.surveillance.candles import candles_of
from archstone.systems.exchange.surveillance.watch import Found, Rules, Watch
from archstone.systems.exchange.tape import StreamGapError, Trade, rest_of, trades_of
from archstone.systems.exchange.venue.state import State

__all__ = ["Looking"]

_SECOND_NS: Final = 1_000_000_000
_CANDLE: Final = """
    INSERT INTO candles (book, seconds, start, open, high, low, close, lots, turnover, trades,
        first_sequence, last_sequence)
    VALUES (:book, :seconds, :start, :open, :high, :low, :close, :lots, :turnover, :trades,
        :first_sequence, :last_sequence)
    ON CONFLICT (book, seconds, start) DO UPDATE SET
        open = CASE WHEN excluded.first_sequence < candles.first_sequence THEN excluded.open ELSE candles.open END,
        high = CASE WHEN excluded.high > candles.high THEN excluded.high ELSE candles.high END,
        low = CASE WHEN excluded.low < candles.low THEN excluded.low ELSE candles.low END,
        close = CASE WHEN excluded.last_sequence > candles.last_sequence THEN excluded.close ELSE candles.close END,
        lots = candles.lots + excluded.lots,
        turnover = candles.turnover + excluded.turnover,
        trades = candles.trades + excluded.trades,
        first_sequence = CASE WHEN excluded.first_sequence < candles.first_sequence
            THEN excluded.first_sequence ELSE candles.first_sequence END,
        last_sequence = CASE WHEN excluded.last_sequence > candles.last_sequence
            THEN excluded.last_sequence ELSE candles.last_sequence END
"""
_TRADE: Final = (
    "INSERT INTO trades (book, sequence, number, at, price, lots, aggressor)"
    " VALUES (:book, :sequence, :number, :at, :price, :lots, :aggressor)"
)
_ALERT: Final = (
    "INSERT INTO alerts (rule, book, account, sequence, at, parameters, evidence)"
    " VALUES (:rule, :book, :account, :sequence, :at, :parameters, :evidence)"
    " ON CONFLICT (rule, book, account, sequence) DO NOTHING"
)
_RECENT: Final = "SELECT rule, book, account, at FROM alerts WHERE at >= :since"
_MOVE: Final = "UPDATE progress SET last = :last, warm = :warm, at = :at WHERE last = :before"
_log = get_logger("archstone.systems.exchange")


class Progress(NamedTuple):
    """How far the stream is read."""

    last: int
    warm: int
    at: int
    relations: int


class Looking:
    """A `Reader` that keeps candles, trades and findings in a database."""

    def __init__(self, db: Database, rules: Rules) -> None:
        self._db = db
        self._rules = rules
        self._horizon_ns = int(rules.horizon_s * _SECOND_NS)
        self._watch = Watch(rules)
        self._kept = 0
        """What is after this command has not been made anything of."""
        self._marks: deque[tuple[int, int]] = deque()
        """Ends of what was taken within the horizon, oldest first: command, time."""
        self._floor = 0
        """Where the rules were begun to be shown the stream."""
        self._relations = -1
        self._warms = False
        """Whether the rules are being shown again what they have forgotten, and nothing has come yet."""

    async def last(self) -> int:
        """Return from where on the rules must be shown the stream; where that cannot be had, what is kept."""
        progress = await self._db.one(Progress, "SELECT last, warm, at, relations FROM progress")
        self._watch, self._relations, self._kept = Watch(self._rules), -1, progress.last
        self._marks.clear()
        for rule, book, account, at in await self._db.all(
            tuple[str, int, int, int], _RECENT, since=progress.at - self._horizon_ns
        ):
            self._watch.remember(rule, book, account, at)
        self._warms = not self._warms and progress.warm < progress.last
        if progress.warm < progress.last and not self._warms:
            _log.warning("rules begin cold: the stream from before is gone", last=progress.last, warm=progress.warm)
        self._floor = progress.warm if self._warms else progress.last
        return self._floor

    async def take(self, batches: Sequence[Batch]) -> None:
        """Look at batches, and keep what comes of those that are new."""
        self._warms = False
        new = [rest for batch in batches if (rest := rest_of(batch, self._kept)) is not None]
        await self._learn_relations()
        for batch in batches:
            if batch.first <= self._kept:
                self._see_again(batch)
        if new:
            await self._keep(new, [found for batch in new for found in self._watch.see(batch)])

    async def begin(self, venue: State, sequence: int) -> int:
        """Go on after command number `sequence`; the rules begin cold."""

        async def keep(tx: Transaction) -> int:
            before = await tx.one(int, "SELECT last FROM progress")
            if not await tx.execute(_MOVE, last=sequence, warm=sequence, at=venue.now_ns, before=before):
                raise TransactionLostError(self._db.label, "because another process has read the same")
            return before

        return await self._db.run(keep)

    def _see_again(self, batch: Batch) -> None:
        known = min(len(batch.commands), self._kept - batch.first + 1)
        events = batch.events[batch.events["command"] < known]
        self._watch.see(batch._replace(commands=batch.commands[:known], events=events))
        self._marks.append((batch.first + known - 1, batch.at_ns))

    async def _learn_relations(self) -> None:
        number = await self._db.one(int, "SELECT relations FROM progress")
        if number != self._relations:
            rows = await self._db.all(tuple[int, int], "SELECT account, person FROM relations")
            self._watch.relate(dict(rows))
            self._relations = number

    async def _keep(self, batches: Sequence[Batch], findings: Sequence[Found]) -> None:
        trades = [trade for batch in batches for trade in trades_of(batch)]
        first, last, at_ns = batches[0].first, batches[-1].last, batches[-1].at_ns
        self._marks.extend((batch.last, batch.at_ns) for batch in batches)
        warm = self._kept_warm(at_ns)

        async def keep(tx: Transaction) -> None:
            before = await tx.one(int, "SELECT last FROM progress")
            if first != before + 1:
                raise StreamGapError("surveillance", before + 1, first)
            await tx.many(_CANDLE, [candle._asdict() for candle in candles_of(trades)])
            await tx.many(_TRADE, map(_row, trades))
            await tx.many(_ALERT, map(self._found, findings))
            if not await tx.execute(_MOVE, last=last, warm=warm, at=at_ns, before=before):
                raise TransactionLostError(self._db.label, "because another process has read the same")

        await self._db.run(keep)
        self._kept = last

    def _kept_warm(self, at_ns: int) -> int:
        """Return the last command of which nothing is needed any more at a moment."""
        while len(self._marks) > 1 and self._marks[1][1] < at_ns - self._horizon_ns:
            self._marks.popleft()
        command, at = self._marks[0]
        return command if at < at_ns - self._horizon_ns else self._floor

    def _found(self, found: Found) -> dict[str, object]:
        rule = getattr(self._rules, found.rule)
        return {
            "rule": found.rule, "book": found.book, "account": found.account, "sequence": found.sequence,
            "at": found.at_ns, "parameters": json.dumps(asdict(rule)), "evidence": json.dumps(found.evidence),
        }  # fmt: skip


def _row(trade: Trade) -> dict[str, object]:
    return {
        "book": trade.book, "sequence": trade.sequence, "number": trade.number, "at": trade.at_ns, "price": trade.price,
        "lots": trade.lots, "aggressor": trade.aggressor,
    }  # fmt: skip
