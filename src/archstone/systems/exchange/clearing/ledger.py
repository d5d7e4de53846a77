"""The ledger in a database: entries are added and never changed, and the balances move in the same transaction.

Promise: an entry of a `ref` that is there is not booked again. Whatever is booked sums to zero for each asset.
"""

from collections import defaultdict
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from archstone.systems.exchange.clearing.entries import Entry, Purse, Transfer

__all__ = ["Ledger", "Writes"]

T = TypeVar("T")

_ENTRY: Final = (
    "INSERT INTO entries (position, kind, ref, sequence, at, day, due, book, price, lots, reverses, reason, by)"
    " VALUES (:position, :kind, :ref, :sequence, :at, :day, :due, :book, :price, :lots, :reverses, :reason, :by)"
)
_TRANSFER: Final = (
    "INSERT INTO transfers (entry, line, from_account, from_purse, to_account, to_purse, asset, amount)"
    " VALUES (:entry, :line, :from_account, :from_purse, :to_account, :to_purse, :asset, :amount)"
)
_MOVE: Final = (
    "INSERT INTO balances (account, purse, asset, due, amount) VALUES (:account, :purse, :asset, :due, :amount)"
    " ON CONFLICT (account, purse, asset, due) DO UPDATE SET amount = balances.amount + excluded.amount"
)
_LAST: Final = "SELECT coalesce(max(position), 0) FROM entries"
_KNOWN: Final = "SELECT ref FROM entries WHERE sequence BETWEEN :first AND :last"
_TRANSFERS: Final = (
    "SELECT from_account, from_purse, to_account, to_purse, asset, amount FROM transfers"
    " WHERE entry = :entry ORDER BY line"
)
_OWED: Final = (
    "SELECT due, account, asset, amount FROM balances WHERE purse = 'pending' AND due <= :today AND amount <> 0"
    " ORDER BY due, account, asset LIMIT :limit"
)
_DROP: Final = "DELETE FROM balances WHERE purse = 'pending' AND due <= :today AND amount = 0"


class Writes(Protocol):
    """An open transaction, as far as it is needed here."""

    def execute(self, sql: str, /, **params: object) -> Awaitable[int]:
        """Run a statement and return how many rows it changed."""
        ...

    def many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> Awaitable[int]:
        """Run a statement once per mapping."""
        ...

    def one(self, row: type[T], sql: str, /, **params: object) -> Awaitable[T]:
        """Return the first row."""
        ...

    def all(self, row: type[T], sql: str, /, **params: object) -> Awaitable[list[T]]:
        """Return all rows."""
        ...


class _Owed(NamedTuple):
    due: int
    account: int
    asset: str
    amount: int


class Ledger:
    """What is done to the ledger in one transaction."""

    def __init__(self, tx: Writes) -> None:
        self._tx = tx

    async def book(self, entries: Sequence[Entry]) -> int:
        """Add entries of the stream, except those that are there already; return how many were new."""
        sequences = [entry.sequence for entry in entries if entry.sequence is not None]
        if not sequences:
            return 0
        known = set(await self._tx.all(str, _KNOWN, first=min(sequences), last=max(sequences)))
        new = [*{entry.ref: entry for entry in entries if entry.ref not in known}.values()]
        await self.add(new)
        return len(new)

    async def add(self, entries: Sequence[Entry]) -> None:
        """Add entries.

        Raises:
            ConstraintError: One of the same `ref` is there.
        """
        first = await self._tx.one(int, _LAST) + 1
        await self._tx.many(
            _ENTRY,
            [
                {
                    "position": position, "kind": entry.kind, "ref": entry.ref, "sequence": entry.sequence,
                    "at": entry.at_us, "day": entry.day, "due": entry.due, "book": entry.book, "price": entry.price,
                    "lots": entry.lots, "reverses": entry.reverses, "reason": entry.reason, "by": entry.by,
                }
                for position, entry in enumerate(entries, first)
            ],
        )  # fmt: skip
        await self._tx.many(
            _TRANSFER,
            [
                {"entry": position, "line": line, **transfer._asdict()}
                for position, entry in enumerate(entries, first)
                for line, transfer in enumerate(entry.transfers, 1)
            ],
        )
        await self._tx.many(_MOVE, _moves(entries))

    async def transfers(self, position: int) -> list[Transfer]:
        """Return the transfers of an entry."""
        return await self._tx.all(Transfer, _TRANSFERS, entry=position)

    async def settle(self, today: int, *, at_us: int, limit: int) -> int:
        """Move what is pending and due to what is settled, net for each account and asset; return how many of those.

        Args:
            today: Days since 1970; what is due by then is settled.
            at_us: When it is done.
            limit: Accounts' assets at most, at least 1. Call it again while it returns as many.
        """
        owed = await self._tx.all(_Owed, _OWED, today=today, limit=limit)
        by_day: dict[int, list[Transfer]] = defaultdict(list)
        for each in owed:
            pending, settled = (each.account, Purse.PENDING), (each.account, Purse.SETTLED)
            first, second = (pending, settled) if each.amount > 0 else (settled, pending)
            by_day[each.due].append(Transfer(*first, *second, each.asset, abs(each.amount)))
        position = await self._tx.one(int, _LAST)
        await self.add(
            [
                Entry("settlement", f"settlement/{due}/{number}", at_us, today, due, tuple(transfers))
                for number, (due, transfers) in enumerate(by_day.items(), position + 1)
            ]
        )
        await self._tx.execute(_DROP, today=today)
        return len(owed)


def _moves(entries: Iterable[Entry]) -> list[dict[str, object]]:
    """Return what entries add to balances, once for each, in one order for all, so that two writers do not deadlock."""
    sums: dict[tuple[int, str, str, int], int] = defaultdict(int)
    for entry in entries:
        for each in entry.transfers:
            for account, purse, sign in (
                (each.from_account, each.from_purse, -1),
                (each.to_account, each.to_purse, 1),
            ):
                due = entry.due if purse == Purse.PENDING else 0
                sums[account, purse, each.asset, due] += sign * each.amount
    names = ("account", "purse", "asset", "due")
    return [{**dict(zip(names, key, strict=True)), "amount": amount} for key, amount in sorted(sums.items()) if amount]
