"""One's orders and fills, those that are over too, by instrument."""

from typing import Final

from archstone.systems.exchange.web.asking import Answer, Hall, Page, Request

__all__ = ["show"]

KINDS: Final = {"open": "Open orders", "ended": "Ended orders", "fills": "Fills"}
_FILLS: Final = 500


async def show(hall: Hall, request: Request) -> Answer:
    """Show what is asked for: `show` of `KINDS`, of `symbol` or of all."""
    trading, query = hall.clients.trading, request.query
    kind = query.get("show", "open") if query.get("show") in KINDS else "open"
    about = hall.instruments.named(query.get("symbol", ""))
    symbol = None if about is None else about.symbol
    orders, fills = (), ()
    if kind == "fills":
        fills = (await trading.fills(_FILLS)).items
        fills = tuple(each for each in fills if symbol is None or each.symbol == symbol)
    else:
        orders = (await trading.orders(symbol, kind == "ended")).items
    values = {
        "kinds": KINDS, "kind": kind, "symbol": symbol, "orders": orders, "fills": fills,
        "instruments": hall.instruments,
    }  # fmt: skip
    return Page(template="orders.html", values=values)
