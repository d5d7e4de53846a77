"""All that is traded, at a glance."""

from typing import NamedTuple

from archstone.systems.exchange.desk.contract import Instrument
from archstone.systems.exchange.web.asking import Answer, Hall, Page, Request

__all__ = ["Quote", "overview", "quote"]


class Quote(NamedTuple):
    """One instrument, as people read it. Empty: there is none."""

    about: Instrument
    last: str
    change: str
    move: str
    """`up`, `down` or `flat`."""
    bid: str
    ask: str
    high: str
    low: str


async def overview(hall: Hall, request: Request) -> Answer:
    """Show all instruments."""
    del request
    found = await hall.clients.market.instruments()
    return Page(template="markets.html", values={"quotes": [quote(hall, each) for each in found.items]})


def quote(hall: Hall, about: Instrument) -> Quote:
    """Return an instrument as people read it."""
    entry = hall.instruments.named(about.symbol)

    def price(ticks: int) -> str:
        return "" if entry is None or not ticks else entry.price(ticks)

    moved = about.last - about.first
    change = f"{moved * 100 / about.first:+.2f} %".replace("-0.00", "+0.00") if about.first else ""
    return Quote(
        about, price(about.last), change, "up" if moved > 0 else "down" if moved < 0 else "flat", price(about.bid),
        price(about.ask), price(about.high), price(about.low),
    )  # fmt: skip
