"""One's statement of a day: what there was, each movement that clearing has booked, and what there is."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

from archstone import world
from archstone.systems.exchange.clearing.contract import Holding, StatementLine
from archstone.systems.exchange.instruments import Instruments, money
from archstone.systems.exchange.web.asking import Answer, Hall, Page, Request

__all__ = ["show"]

_LINES: Final = 200
_FIRST: Final = date(1970, 1, 1)
_MOST_DIGITS: Final = 18


class Line(NamedTuple):
    """A movement, as people read it."""

    about: StatementLine
    what: str
    amount: str
    price: str


async def show(hall: Hall, request: Request) -> Answer:
    """Show the day that is asked for, or today; `after` an entry, if there are more lines than a page has."""
    today = world.now().date()
    day = max(_FIRST, min(_day(request.query.get("day", "")) or today, today))
    found = await hall.clients.clearing.statement(
        int(request.principal.id), day, _entry(request.query.get("after", "")), _LINES
    )
    values = {
        "day": day, "before": day - timedelta(days=1), "next": day + timedelta(days=1) if day < today else None,
        "opening": _held(found.opening, hall.instruments), "closing": _held(found.closing, hall.instruments),
        "lines": [_line(each, hall.instruments) for each in found.lines], "after": found.next_after, "today": today,
    }  # fmt: skip
    return Page(template="statement.html", values=values)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _entry(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _held(found: Sequence[Holding], instruments: Instruments) -> dict[str, str]:
    """Return what is held of each asset, by its name."""
    return {_name(each.asset, instruments): _amount(each.asset, each.amount) for each in found}


def _line(found: StatementLine, instruments: Instruments) -> Line:
    about = None if found.book is None else instruments.of(found.book)
    price = "" if about is None or found.price is None else about.price(found.price)
    sign = "+" if found.amount > 0 else ""
    return Line(found, _name(found.asset, instruments), sign + _amount(found.asset, found.amount), price)


def _name(asset: str, instruments: Instruments) -> str:
    if not asset.isdigit():
        return "money"
    about = instruments.of(int(asset))
    return f"{'book ' + asset if about is None else about.symbol} lots"


def _amount(asset: str, amount: int) -> str:
    return f"{amount:,}" if asset.isdigit() else money(amount)
