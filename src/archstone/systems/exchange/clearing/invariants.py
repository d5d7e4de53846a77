"""What must never be false of a ledger, and how it differs from the venue."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from archstone.data import Database, Snapshot
from archstone.systems.exchange.clearing.entries import CASH
from archstone.systems.exchange.venue import Standing

__all__ = ["differences", "faults"]

_SUMS: Final = "SELECT asset, CAST(sum(amount) AS BIGINT) AS amount FROM legs GROUP BY asset HAVING sum(amount) <> 0"
_DRIFT: Final = """
    SELECT account, purse, asset, due, CAST(sum(amount) AS BIGINT) AS amount FROM (
        SELECT account, purse, asset, due, amount FROM balances
        UNION ALL
        SELECT l.account, l.purse, l.asset, CASE l.purse WHEN 'pending' THEN e.due ELSE 0 END AS due, -l.amount
        FROM legs l JOIN entries e ON e.position = l.entry
    ) AS both_ways GROUP BY account, purse, asset, due HAVING sum(amount) <> 0 ORDER BY account, purse, asset, due
"""
_HELD: Final = (
    "SELECT asset, CAST(sum(amount) AS BIGINT) AS amount FROM balances"
    " WHERE account = :account AND purse IN ('pending', 'settled') GROUP BY asset HAVING sum(amount) <> 0"
)


class _Sum(NamedTuple):
    asset: str
    amount: int


class _Drift(NamedTuple):
    account: int
    purse: str
    asset: str
    due: int
    amount: int


async def faults(db: Database) -> list[str]:
    """Return a sentence for each thing that is false about the ledger in a database; none if it is right."""
    async with db.snapshot() as view:
        sums = await view.all(_Sum, _SUMS)
        drifts = await view.all(_Drift, _DRIFT)
    return [
        *(f"{each.asset} of all accounts sums to {each.amount}, not to 0" for each in sums),
        *(
            f"balance of account {each.account}, {each.purse} {each.asset}, due {each.due}: {each.amount} more than "
            "its transfers say"
            for each in drifts
        ),
    ]


async def differences(db: Database, standings: Iterable[Standing], *, sequence: int) -> list[str]:
    """Return a sentence for each account whose cash or positions are not those of the venue.

    Args:
        db: Of the ledger.
        standings: The venue's accounts after command number `sequence`, before any later trade or payment.
        sequence: That number; the ledger must have come as far, and no further.
    """
    found: list[str] = []
    async with db.snapshot() as view:
        through = await view.one(int, "SELECT through FROM progress")
        if through > sequence:
            return [f"the ledger is at command {through}, the venue was asked at {sequence}: ask it later"]
        for standing in standings:
            found += await _differences(view, standing)
    return found


async def _differences(view: Snapshot, standing: Standing) -> list[str]:
    held = {each.asset: each.amount for each in await view.all(_Sum, _HELD, account=standing.account)}
    positions = {str(book): lots for book, lots in standing.positions.items() if lots}
    wanted = {**positions, **({CASH: standing.cash} if standing.cash else {})}
    return [
        f"account {standing.account}, {asset}: the ledger has {held.get(asset, 0)}, the venue {wanted.get(asset, 0)}"
        for asset in sorted(held.keys() | wanted.keys())
        if held.get(asset, 0) != wanted.get(asset, 0)
    ]
