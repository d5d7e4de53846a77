"""A board that begins with the venue as it is, where the stream no longer has what came before.

Promise: depth, live orders, money, positions, limits and numbers are the venue's, and the board reads on from there.
What a venue does not keep is not there: trades, candles, fills, reports, and orders that have ended. What was paid for
a position is not known either, so it is taken to be what the position is worth at the last price.
"""

from itertools import chain

from archstone.systems.exchange.desk.board import Board, Book, day_of
from archstone.systems.exchange.desk.ledger import Account, Order, Position
from archstone.systems.exchange.matching import Limit
from archstone.systems.exchange.venue import accounts, market, order_of
from archstone.systems.exchange.venue.state import loaded

__all__ = ["board_of"]


def board_of(dump: bytes, *, sequence: int) -> Board:
    """Return the board of a venue that was dumped after command number `sequence`.

    Raises:
        DumpError: It is damaged, or of another version.
    """
    state, _ = loaded(dump)
    board = Board()
    board.sequence, board.at_ns, board.killed = sequence, state.now_ns, state.killed
    for number, found in state.accounts.items():
        board.accounts[number] = _account(found, state.markets, sequence)
    for number, each in state.markets.items():
        last = each.engine.last or each.engine.reference
        board.books[number] = Book(each.value, int(each.engine.phase), last, last, day=day_of(state.now_ns))
        _orders(board, each)
    return board


def _account(found: accounts.Account, markets: dict[int, market.Market], sequence: int) -> Account:
    owner = Account(found.number, found.cash, found.paid_in, found.killed, found.last_number, lost_reports=sequence)
    if any(found.limits[each] != accounts.NO_LIMIT for each in Limit if each != Limit.CREDIT):
        owner.limits = {int(which): at for which, at in found.limits.items()}
    for book, held in found.holdings.items():
        if held.position:
            owner.positions[book] = Position(held.position, held.position * markets[book].worth)
    return owner


def _orders(board: Board, found: market.Market) -> None:
    book = board.books[found.book]
    for each in chain(*found.engine.queues()):
        is_asleep = bool(each.trigger)
        order = Order(
            each.id, found.book, each.side, each.type, each.tif, each.flags, each.price, each.left, each.display,
            each.trigger, board.at_ns, left=each.left, shown=each.shown, rests=not is_asleep,
            status="sleeping" if is_asleep else "working",
        )  # fmt: skip
        board.orders[order.id] = order
        board.accounts[order_of(order.id)[0]].live[order.number] = order
        if order.rests:
            book.count(order.side, order.price, order.shown, 1)
