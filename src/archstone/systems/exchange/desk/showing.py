"""What board and feed hold, as the values of the contracts."""

from typing import cast

from archstone.systems.exchange import instruments as table
from archstone.systems.exchange.desk import board, contract, ledger
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.desk.power import Means
from archstone.systems.exchange.desk.words import LIMITS, PhaseWord, SideWord, TifWord, said
from archstone.systems.exchange.feed import Candle, Depth, Trade
from archstone.systems.exchange.matching import Flag, Phase, Reason, Side, TimeInForce, Type

__all__ = ["candle", "depth", "exposure", "fill", "instrument", "limits", "order", "phase", "portfolio", "trade"]


def instrument(about: table.Instrument, floor: Floor) -> contract.Instrument:
    """Return what is traded, and how it stands."""
    book, shown = floor.board.books[about.book], floor.feed.depth(about.book, levels=1)
    return contract.Instrument(
        symbol=about.symbol, book=about.book, name=about.name, lot=about.lot, tick=about.tick, decimals=about.decimals,
        value=about.value, most_lots=about.most_lots, phase=phase(shown),
        last=book.last, first=book.first, high=book.high, low=book.low, lots=book.lots,
        bid=shown.buys[0][0] if shown.buys else 0, ask=shown.sells[0][0] if shown.sells else 0,
    )  # fmt: skip


def phase(shown: Depth) -> PhaseWord:
    """Return the phase that a book is in."""
    return cast("PhaseWord", said(Phase, shown.phase))


def depth(symbol: str, shown: Depth) -> contract.Depth:
    """Return the best prices of both sides."""
    bids, asks = (
        tuple(contract.Level(price=price, lots=lots, orders=orders) for price, lots, orders in side)
        for side in (shown.buys, shown.sells)
    )
    return contract.Depth(symbol=symbol, sequence=shown.sequence, bids=bids, asks=asks)


def candle(one: Candle) -> contract.Candle:
    """Return a candle."""
    return contract.Candle(
        begins_s=one.opened_at_s, open=one.open, high=one.high, low=one.low, close=one.close, lots=one.volume
    )


def trade(one: Trade) -> contract.Trade:
    """Return a trade, as everybody sees it."""
    side = cast("SideWord", said(Side, one.side)) if one.side else None
    return contract.Trade(sequence=one.sequence, at_ns=one.at_ns, price=one.price, lots=one.quantity, side=side)


def order(one: ledger.Order, symbol: str) -> contract.Order:
    """Return an order of an account."""
    return contract.Order(
        number=one.number, symbol=symbol, side=cast("SideWord", said(Side, one.side)),
        price=0 if one.type == Type.MARKET else one.price, quantity=one.quantity,
        left=0 if one.status == "filled" else one.left, filled=one.filled,
        tif=cast("TifWord", said(TimeInForce, one.tif)), display=one.display, trigger=one.trigger,
        post_only=bool(one.flags & Flag.POST_ONLY), status=one.status,
        reason=said(Reason, one.reason) if one.reason else "", at_ns=one.at_ns,
    )  # fmt: skip


def fill(one: ledger.Fill, symbol: str) -> contract.Fill:
    """Return a fill of an account."""
    return contract.Fill(
        sequence=one.sequence, at_ns=one.at_ns, number=one.number, symbol=symbol,
        side=cast("SideWord", said(Side, one.side)), price=one.price, lots=one.lots, role=one.role,
    )  # fmt: skip


def limits(owner: ledger.Account) -> contract.Limits:
    """Return what an account is bound to."""
    return contract.Limits(**{word: owner.limits.get(which) for word, which in LIMITS.items()})


def exposure(owner: ledger.Account, shown: board.Board) -> int:
    """Return what all positions are worth at the last prices, each taken as positive; cents."""
    worths = ((held.lots, shown.books[number]) for number, held in owner.positions.items())
    return sum(abs(lots) * book.last * book.value for lots, book in worths)


def portfolio(owner: ledger.Account, floor: Floor) -> contract.Portfolio:
    """Return how an account stands at the last prices."""
    shown, money = floor.board, Means(owner, floor.board, floor.instruments).power
    positions: list[contract.Position] = []
    worth = owner.cash
    for number, held in sorted(owner.positions.items()):
        book, about = shown.books[number], floor.instruments.of(number)
        each = book.last * book.value
        worth += held.lots * each
        if about is not None and (held.lots or held.realised):
            positions.append(
                contract.Position(
                    symbol=about.symbol, lots=held.lots, cost=held.cost, realised=held.realised,
                    open_profit=held.open_profit(each),
                )
            )  # fmt: skip
    return contract.Portfolio(
        account=owner.number, cash=owner.cash, paid_in=owner.paid_in, fees=owner.fees, worth=worth,
        profit=worth - owner.fees - owner.paid_in, reserved=money.reserved, available=money.available,
        exposure=exposure(owner, shown), killed=owner.killed or shown.killed, positions=tuple(positions),
    )  # fmt: skip
