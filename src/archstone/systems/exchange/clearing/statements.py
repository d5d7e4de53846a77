"""What the ledger answers: balances, statements, and the trial balance."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from archstone.data import Snapshot
from archstone.systems.exchange.clearing.contract import (
    AccountBalances,
    AssetSum,
    Balance,
    Holding,
    Statement,
    StatementLine,
    TrialBalance,
)
from archstone.systems.exchange.clearing.entries import CASH
from archstone.systems.exchange.clearing.settlement import date_of, number_of

__all__ = ["balances_of", "statement_of", "trial_balance"]

_LAST: Final = 2**63 - 1
_THROUGH: Final = "SELECT through FROM progress"
_BALANCES: Final = (
    "SELECT asset, purse, CAST(sum(amount) AS BIGINT) AS amount FROM balances WHERE account = :account"
    " GROUP BY asset, purse ORDER BY asset, purse"
)
_LINES: Final = (
    "SELECT l.entry, l.line, e.kind, e.ref, e.at, e.day, e.due, l.purse, l.asset, l.amount, e.book, e.price, e.lots,"
    " e.reverses, e.reason FROM legs l JOIN entries e ON e.position = l.entry"
    " WHERE l.account = :account AND e.day = :day AND l.entry BETWEEN :first AND :last"
    " ORDER BY l.entry, l.line, l.amount LIMIT :limit"
)
_CHANGED: Final = (
    "SELECT l.asset, CAST(sum(CASE WHEN e.day < :day THEN l.amount ELSE 0 END) AS BIGINT) AS before,"
    " CAST(sum(l.amount) AS BIGINT) AS after FROM legs l JOIN entries e ON e.position = l.entry"
    " WHERE l.account = :account AND e.day <= :day GROUP BY l.asset ORDER BY l.asset"
)
_SUMS: Final = (
    "SELECT asset, count(DISTINCT account) AS accounts, CAST(sum(amount) AS BIGINT) AS sum FROM balances"
    " WHERE amount <> 0 GROUP BY asset ORDER BY asset"
)


class _PurseRow(NamedTuple):
    asset: str
    purse: str
    amount: int


class _LineRow(NamedTuple):
    entry: int
    line: int
    kind: str
    ref: str
    at: int
    day: int
    due: int
    purse: str
    asset: str
    amount: int
    book: int | None
    price: int | None
    lots: int | None
    reverses: int | None
    reason: str | None

    def shown(self) -> StatementLine:
        fields = self._asdict()
        day, due = date_of(fields.pop("day")), date_of(fields.pop("due"))
        fields["at"] = datetime.fromtimestamp(self.at / 1_000_000, UTC)
        return StatementLine(**fields, trade_date=day, settlement_date=due)


class _Changed(NamedTuple):
    asset: str
    before: int
    after: int


async def balances_of(view: Snapshot, account: int) -> AccountBalances:
    """Return what an account has."""
    purses: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(Balance.model_fields, 0))
    for row in await view.all(_PurseRow, _BALANCES, account=account):
        purses[row.asset][row.purse] = row.amount
    return AccountBalances(
        account=account,
        balances=tuple(
            Balance.model_validate({**purses[asset], "asset": asset}) for asset in sorted(purses, key=_cash_first)
        ),
        through=await view.one(int, _THROUGH),
    )


async def statement_of(view: Snapshot, account: int, day: date, *, after: int, limit: int) -> Statement:
    """Return the movements of an account on a trade date, whole entries only.

    Args:
        view: One instant of the ledger.
        account: Whose.
        day: The trade date.
        after: Lines of later entries only.
        limit: Lines at most; more where one entry has more.
    """
    number = number_of(day)
    changed = await view.all(_Changed, _CHANGED, account=account, day=number)
    asked = {"account": account, "day": number}
    rows = await view.all(_LineRow, _LINES, **asked, first=after + 1, last=_LAST, limit=limit + 1)
    page, more = rows, len(rows) > limit
    if more:
        page = [row for row in rows if row.entry < rows[limit].entry]
        if not page:  # one entry fills more than a page: it is given whole
            only = rows[0].entry
            page = await view.all(_LineRow, _LINES, **asked, first=only, last=only, limit=_LAST)
    return Statement(
        account=account,
        day=day,
        opening=_holdings([(each.asset, each.before) for each in changed if each.before or each.after]),
        closing=_holdings([(each.asset, each.after) for each in changed if each.before or each.after]),
        lines=tuple(row.shown() for row in page),
        next_after=page[-1].entry if more else None,
    )


async def trial_balance(view: Snapshot) -> TrialBalance:
    """Return the sums of all accounts."""
    return TrialBalance(
        assets=tuple(await view.all(AssetSum, _SUMS)),
        entries=await view.one(int, "SELECT count(*) FROM entries"),
        through=await view.one(int, _THROUGH),
        waiting=await view.one(int, "SELECT count(*) FROM early"),
    )


def _holdings(found: Sequence[tuple[str, int]]) -> tuple[Holding, ...]:
    ordered = sorted(found, key=lambda each: _cash_first(each[0]))
    return tuple(Holding(asset=asset, amount=amount) for asset, amount in ordered)


def _cash_first(asset: str) -> tuple[int, int]:
    return (0, 0) if asset == CASH else (1, int(asset))
