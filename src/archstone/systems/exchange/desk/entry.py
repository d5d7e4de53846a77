"""Orders of accounts on their way to the sequencer, for the contracts and the stream alike.

Promise: an order with a number is placed once. One that was refused can be sent again under a higher number. What the
caller gets is how the order stands when everything that came of the command has been read.
"""

from typing import Final, NamedTuple

from archstone.systems.exchange.desk import contract
from archstone.systems.exchange.desk.floor import Floor, rows
from archstone.systems.exchange.desk.ledger import Account, Order
from archstone.systems.exchange.desk.power import Asked, Means, collar
from archstone.systems.exchange.desk.refusals import advice
from archstone.systems.exchange.desk.showing import phase
from archstone.systems.exchange.desk.words import SELF_TRADES, SIDES, TIFS, said, why
from archstone.systems.exchange.entry.cancelling import cancels
from archstone.systems.exchange.instruments import Instrument
from archstone.systems.exchange.matching import Command, Flag, Kind, Reason, Side, TimeInForce, Told, Type
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.venue import order_id
from archstone.systems.exchange.venue.port import MAX_NUMBER

__all__ = ["MOST_ORDERS", "Entry", "Wish"]

MOST_ORDERS: Final = 1_000
"""Orders of one account that work or sleep."""


class Wish(NamedTuple):
    """What somebody wants to order, but for how much."""

    about: Instrument
    side: Side
    price: int | None
    """None: a market order."""
    trigger: int
    """0: it is no stop."""


class Entry:
    """Takes orders of all accounts."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor

    def account(self, number: int) -> Account:
        """Return an account; an empty one if it has never been here."""
        return self.floor.board.accounts.get(number) or Account(number)

    def instrument(self, symbol: str) -> Instrument:
        """Return what a symbol stands for.

        Raises:
            UnknownInstrumentError: Nothing.
        """
        found = self.floor.instruments.named(symbol)
        if found is None:
            raise contract.UnknownInstrumentError(symbol)
        return found

    def symbol(self, book: int) -> str:
        """Return the symbol of a book; its number where it is none of ours."""
        found = self.floor.instruments.of(book)
        return f"B{book}" if found is None else found.symbol

    def order(self, account: int, number: int) -> Order:
        """Return an order of an account.

        Raises:
            UnknownOrderError: There is none, or it ended long ago.
        """
        found = self.account(account).order(number)
        if found is None:
            raise contract.UnknownOrderError(number)
        return found

    async def place(self, account: int, new: contract.NewOrder) -> tuple[int, Order]:
        """Place an order; return the sequence and how it stands.

        Raises:
            OrderRefusedError: It was refused, or the order of this number is another, or too many work already.
            UnknownInstrumentError: This is not traded.
        """
        about = self.instrument(new.symbol)
        if (known := self._placed(account, new, about)) is not None:
            return self.floor.board.sequence, known
        number = self.floor.next_number(account) if new.number is None else new.number
        if number is None:
            raise _refused(MAX_NUMBER, Reason.NUMBER)
        if len(self.account(account).live) >= MOST_ORDERS:
            text = f"{MOST_ORDERS} of yours work already, as many as one may have"
            raise contract.OrderRefusedError(number, "too_many", text)
        batch = await self._submit(account, _command(account, number, new), about.book)
        # One that was sent again while the first still waited is refused by its number, and by now the first is here.
        if _reason(batch) == Reason.NUMBER and (known := self._placed(account, new, about)) is not None:
            return batch.last, known
        self._check(batch, account, number, Wish(about, SIDES[new.side], new.price, new.trigger or 0))
        return batch.last, self.order(account, number)

    def _placed(self, account: int, new: contract.NewOrder, about: Instrument) -> Order | None:
        """Return the order that was placed under the number of a new one. None: there is none.

        Raises:
            OrderRefusedError: It is another order.
        """
        known = None if new.number is None else self.account(account).order(new.number)
        if known is not None and (known.book, known.side, known.type) != (about.book, SIDES[new.side], _type_of(new)):
            raise _refused(known.number, Reason.NUMBER)
        return known

    async def cancel(self, account: int, number: int) -> tuple[int, Order]:
        """Cancel an order; one that has ended stays as it is."""
        order = self.order(account, number)
        if order.status in {"filled", "canceled"}:
            return self.floor.board.sequence, order
        batch = await self._submit(account, Command(Kind.CANCEL, id=order.id, account=account), order.book)
        reason = _reason(batch)
        if reason is not None and order.status not in {"filled", "canceled"}:  # it may have ended meanwhile
            raise _refused(number, reason)
        return batch.last, order

    async def replace(self, account: int, number: int, *, quantity: int, price: int | None) -> tuple[int, Order]:
        """Change what is open of an order, and its price. None: the price that it has."""
        order = self.order(account, number)
        wanted = order.price if price is None else price
        command = Command(
            Kind.REPLACE, id=order.id, account=account, price=wanted, quantity=quantity, trigger=order.left
        )
        batch = await self._submit(account, command, order.book)
        about = self.instrument(self.symbol(order.book))
        self._check(batch, account, number, Wish(about, Side(order.side), wanted, order.trigger))
        return batch.last, order

    def most(self, account: int, wish: Wish) -> contract.Most:
        """Return how many lots an account may order at most, as things are."""
        asked = self._asked(wish)
        return contract.Most(lots=self.means(account).most(asked), price=asked.price)

    def means(self, account: int) -> Means:
        """Return what an account has."""
        return Means(self.account(account), self.floor.board, self.floor.instruments)

    async def cancel_all(self, account: int, symbol: str | None, side: str | None) -> tuple[int, list[Order]]:
        """Cancel all orders, or those of an instrument or a side; return those that were canceled."""
        about = None if symbol is None else self.instrument(symbol)
        before = [each for each in self.account(account).live.values() if about is None or each.book == about.book]
        if books := {each.book for each in before}:
            await self.floor.submit(cancels(account, sorted(books), side=SIDES[side] if side else 0))
        return self.floor.board.sequence, [order for order in before if order.status == "canceled"]

    def _check(self, batch: Batch, account: int, number: int, wish: Wish) -> None:
        """Refuse what the venue has refused, and say what may be done about it."""
        if (reason := _reason(batch)) is None:
            return
        shown = phase(self.floor.feed.depth(wish.about.book, levels=0))
        text = advice(reason, self.means(account), self._asked(wish), base=self._base(wish), phase=shown)
        raise contract.OrderRefusedError(number, said(Reason, reason), text)

    def _asked(self, wish: Wish) -> Asked:
        """Return an order as the checks of the venue see it."""
        base = self._base(wish)
        low, high = collar(wish.about, base)
        price = wish.price or (high if wish.side == Side.BUY else low)
        if wish.side == Side.BUY:
            return Asked(wish.about, wish.side, price, price)
        bids = self.floor.feed.depth(wish.about.book, levels=1).buys
        last = self.floor.board.books[wish.about.book].last
        return Asked(wish.about, wish.side, price, max(price, base, last, bids[0][0] if bids else 0))

    def _base(self, wish: Wish) -> int:
        return wish.trigger or self.floor.board.books[wish.about.book].last

    async def _submit(self, account: int, command: Command, book: int) -> Batch:
        return await self.floor.submit(rows([command._replace(account=account)], book=book))


def _type_of(new: contract.NewOrder) -> Type:
    return Type.MARKET if new.price is None else Type.LIMIT


def _command(account: int, number: int, new: contract.NewOrder) -> Command:
    tif = TIFS[new.tif] if new.tif else TimeInForce.IOC if new.price is None else TimeInForce.GTC
    return Command(
        Kind.NEW, id=order_id(account, number), account=account, side=SIDES[new.side], type=_type_of(new), tif=tif,
        flags=Flag.POST_ONLY if new.post_only else 0, stp=SELF_TRADES[new.self_trade], price=new.price or 0,
        quantity=new.quantity, display=new.display or 0, trigger=new.trigger or 0,
    )  # fmt: skip


def _reason(batch: Batch) -> int | None:
    """Return why the venue has refused something. None: it has not."""
    refused = batch.events[batch.events["kind"] == Told.REJECTED]
    return int(refused["reason"][0]) if len(refused) else None


def _refused(number: int, reason: int) -> contract.OrderRefusedError:
    return contract.OrderRefusedError(number, said(Reason, reason), why(reason))
