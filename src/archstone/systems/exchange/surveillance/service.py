"""Surveillance: reads the stream beside its database, and answers from that.

It reads the sequencer's stream itself: orders come by the thousand a second, and what is made of them is small.
"""

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from archstone import world
from archstone.data import Lease, Snapshot
from archstone.security import AUDIT_SCHEMA, Audits
from archstone.services import Service, every
from archstone.systems.exchange.sequencer import Sequencer
from archstone.systems.exchange.surveillance.candles import Candle, Interval, filled
from archstone.systems.exchange.surveillance.contract import (
    Alert,
    AlertPage,
    Average,
    CandlePage,
    Market,
    MarketCandle,
    MarketTrade,
    Relation,
    Surveillance,
    UnknownAlertError,
    UnknownSymbolError,
)
from archstone.systems.exchange.surveillance.reading import Looking
from archstone.systems.exchange.surveillance.watch import Rules
from archstone.systems.exchange.tape import Following, Symbols

__all__ = ["SurveillanceService"]

_SECOND_NS: Final = 1_000_000_000
_DAY_S: Final = 86_400
_LAST_SECOND: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
KEEP_TRADES: Final = 10_000
"""Trades of each book that are kept; all of them are in the history."""
KEEP_S: Final = {
    Interval.SECOND: 2 * _DAY_S,
    Interval.MINUTE: 60 * _DAY_S,
    Interval.FIVE_MINUTES: 365 * _DAY_S,
    Interval.HOUR: 3_650 * _DAY_S,
}
"""Seconds for which candles are kept."""
KEEP_ALERTS_S: Final = 1_825 * _DAY_S
"""Seconds for which alerts that were judged are kept."""
MAX_RELATIONS: Final = 10_000

_CANDLES: Final = (
    "SELECT book, seconds, start, open, high, low, close, lots, turnover, trades, first_sequence, last_sequence"
    " FROM candles WHERE book = :book AND seconds = :seconds AND start BETWEEN :first AND :last ORDER BY start"
)
_BEFORE: Final = (
    "SELECT close FROM candles WHERE book = :book AND seconds = :seconds AND start < :first ORDER BY start DESC LIMIT 1"
)
_FIRST: Final = (
    "SELECT start FROM candles WHERE book = :book AND seconds = :seconds AND start >= :first ORDER BY start LIMIT 1"
)
_TRADES: Final = (
    "SELECT sequence, number, at, price, lots, aggressor FROM trades WHERE book = :book"
    " ORDER BY sequence DESC, number DESC LIMIT :limit"
)
_AVERAGE: Final = (
    "SELECT CAST(coalesce(sum(turnover), 0) AS BIGINT) AS turnover, CAST(coalesce(sum(lots), 0) AS BIGINT) AS lots,"
    " CAST(coalesce(sum(trades), 0) AS BIGINT) AS trades FROM candles"
    " WHERE book = :book AND seconds = 60 AND start >= :since AND start < :until"
)
_ALERTS: Final = (
    "SELECT id, rule, book, account, sequence, at, parameters, evidence, verdict, note, closed_by, closed_at"
    " FROM alerts WHERE id < :before"
)
_OLDEST_KEPT: Final = (
    "SELECT sequence FROM trades WHERE book = :book ORDER BY sequence DESC, number DESC LIMIT 1 OFFSET :keep"
)


class _TradeRow(NamedTuple):
    sequence: int
    number: int
    at: int
    price: int
    lots: int
    aggressor: int


class _Sums(NamedTuple):
    turnover: int
    lots: int
    trades: int


class _AlertRow(NamedTuple):
    id: int
    rule: str
    book: int
    account: int
    sequence: int
    at: int
    parameters: str
    evidence: str
    verdict: str | None
    note: str | None
    closed_by: str | None
    closed_at: int | None


class SurveillanceService(Service, Market, Surveillance, name="surveillance"):
    """Keeps `Market` and `Surveillance`."""

    sequencer: Sequencer
    symbols: Symbols = Symbols()
    rules: Rules = Rules()
    audits: Audits = Audits("sqlite:///audit.db")
    """Judgements are on record beside the alerts; without a key and an anchor given, their chain has none."""

    schemas = (AUDIT_SCHEMA,)

    def companions(self) -> tuple[AbstractAsyncContextManager[object], ...]:
        """Return what reads the stream."""
        turn = Lease(self.db, "reader") if self.db.shared else None
        return (Following(self.sequencer, Looking(self.db, self.rules), name="surveillance", turn=turn),)

    async def candles(
        self, symbol: str, interval: Interval = Interval.MINUTE, after: datetime | None = None, limit: int = 300
    ) -> CandlePage:
        book, seconds = self._book(symbol), interval.seconds
        now = int(world.now().timestamp()) // seconds * seconds
        first = now - (limit - 1) * seconds
        if after is not None:
            first = (_second(after) // seconds + 1) * seconds
        async with self.db.snapshot() as view:
            before = await view.first(int, _BEFORE, book=book, seconds=seconds, first=first)
            if before is None:
                first = await view.first(int, _FIRST, book=book, seconds=seconds, first=first) or first
            last = min(now, first + (limit - 1) * seconds)
            found = await view.all(Candle, _CANDLES, book=book, seconds=seconds, first=first, last=last)
            read_at = await _read_at(view)
        all_of_them = [*filled(found, book=book, seconds=seconds, first=first, last=last, before=before)]
        return CandlePage(
            symbol=symbol,
            interval=interval,
            candles=tuple(_shown(each, read_at) for each in all_of_them),
            next_after=_instant(last) if all_of_them and last < now else None,
        )

    async def trades(self, symbol: str, limit: int = 100) -> tuple[MarketTrade, ...]:
        rows = await self.db.all(_TradeRow, _TRADES, book=self._book(symbol), limit=limit)
        return tuple(
            MarketTrade(
                sequence=row.sequence, number=row.number, at=_instant(row.at / _SECOND_NS), price=row.price,
                lots=row.lots, aggressor=(None, "buyer", "seller")[row.aggressor],
            )
            for row in rows
        )  # fmt: skip

    async def average(self, symbol: str, since: datetime, until: datetime | None = None) -> Average:
        begin, end = (_second(each) // 60 * 60 for each in (since, until or world.now()))
        end += 60 if until is None else 0
        sums = await self.db.one(_Sums, _AVERAGE, book=self._book(symbol), since=begin, until=end)
        return Average(
            symbol=symbol, since=_instant(begin), until=_instant(end),
            average=sums.turnover / sums.lots if sums.lots else None, lots=sums.lots, trades=sums.trades,
        )  # fmt: skip

    async def alerts(
        self, state: Literal["open", "all"] = "open", before: int | None = None, limit: int = 50
    ) -> AlertPage:
        which = " AND verdict IS NULL" if state == "open" else ""
        rows = await self.db.all(
            _AlertRow,
            f"{_ALERTS}{which} ORDER BY id DESC LIMIT :limit",  # sql: one of two texts of our own
            before=before or 2**63 - 1, limit=limit + 1,
        )  # fmt: skip
        page = rows[:limit]
        return AlertPage(
            items=tuple(self._alert(row) for row in page), next_before=page[-1].id if len(rows) > limit else None
        )

    async def close(self, alert: int, verdict: Literal["abuse", "harmless"], note: str) -> None:
        changed = await self.tx.execute(
            "UPDATE alerts SET verdict = :verdict, note = :note, closed_by = :by, closed_at = :at"
            " WHERE id = :id AND verdict IS NULL",
            id=alert, verdict=verdict, note=note, by=self.principal.id, at=world.now_us(),
        )  # fmt: skip
        if not changed:
            raise UnknownAlertError(alert)
        await self._recorded("surveillance.judged", alert, {"verdict": verdict, "note": note})

    async def relate(self, account: int, person: int | None) -> None:
        await self.tx.execute("DELETE FROM relations WHERE account = :account", account=account)
        if person is not None:
            await self.tx.execute(
                "INSERT INTO relations (account, person) VALUES (:account, :person)", account=account, person=person
            )
        await self.tx.execute("UPDATE progress SET relations = relations + 1")
        await self._recorded("surveillance.related", account, {"person": person})

    async def relations(self) -> tuple[Relation, ...]:
        return tuple(
            await self.db.all(
                Relation, "SELECT account, person FROM relations ORDER BY account LIMIT :limit", limit=MAX_RELATIONS
            )
        )

    @every(60.0)
    async def forget(self) -> None:
        """Drop trades, candles and judged alerts that are older than they are kept."""
        now = int(world.now().timestamp())
        for book in await self.tx.all(int, "SELECT DISTINCT book FROM trades"):
            oldest = await self.tx.first(int, _OLDEST_KEPT, book=book, keep=KEEP_TRADES - 1)
            await self.tx.execute("DELETE FROM trades WHERE book = :book AND sequence < :n", book=book, n=oldest or 0)
        for interval, keep_s in KEEP_S.items():
            await self.tx.execute(
                "DELETE FROM candles WHERE seconds = :seconds AND start < :before",
                seconds=interval.seconds, before=now - keep_s,
            )  # fmt: skip
        await self.tx.execute(
            "DELETE FROM alerts WHERE verdict IS NOT NULL AND at < :before", before=(now - KEEP_ALERTS_S) * _SECOND_NS
        )
        await self.audits.of(self.db, self.name).sweep(self.tx)

    async def _recorded(self, action: str, subject: int, details: dict[str, object]) -> None:
        await self.audits.of(self.db, self.name).record(action, subject=str(subject), details=details, tx=self.tx)

    def _book(self, symbol: str) -> int:
        book = self.symbols.book(symbol)
        if book is None:
            raise UnknownSymbolError(symbol)
        return book

    def _alert(self, row: _AlertRow) -> Alert:
        closed_at = None if row.closed_at is None else _instant(row.closed_at / 1_000_000)
        fields = row._asdict()
        symbol = self.symbols.symbol(fields.pop("book"))
        fields |= {"symbol": symbol, "at": _instant(row.at / _SECOND_NS), "closed_at": closed_at}
        return Alert.model_validate(fields)


async def _read_at(view: Snapshot) -> int:
    """Return up to when everything is read, seconds."""
    return await view.one(int, "SELECT at FROM progress") // _SECOND_NS


def _shown(candle: Candle, read_at: int) -> MarketCandle:
    return MarketCandle(
        start=_instant(candle.start), open=candle.open, high=candle.high, low=candle.low, close=candle.close,
        lots=candle.lots, trades=candle.trades,
        average=candle.turnover / candle.lots if candle.lots else float(candle.close),
        closed=candle.start + candle.seconds <= read_at,
    )  # fmt: skip


def _instant(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _second(at: datetime) -> int:
    """Return an instant in whole seconds, without a zone taken as UTC, within the days that can be written."""
    second = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    return min(max(second, 0), _LAST_SECOND)
