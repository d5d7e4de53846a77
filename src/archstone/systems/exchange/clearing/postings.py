"""What moves by a trade, by a payment and by a correction. Pure: the same fact makes the same entry."""

from collections.abc import Iterator, Sequence

from archstone.systems.exchange.clearing.entries import CASH, HOUSE, OUTSIDE, Entry, Purse, Transfer
from archstone.systems.exchange.clearing.fees import FeeSchedule
from archstone.systems.exchange.clearing.settlement import Settlement, day_of_ns, day_of_us
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.tape.facts import Carried, Payment, Trade

__all__ = ["entry_of_carried", "entry_of_payment", "entry_of_trade", "reversal_of"]


def entry_of_trade(trade: Trade, value: int, *, fees: FeeSchedule, settlement: Settlement) -> Entry:
    """Return the entry of a trade: money one way, lots the other, and a fee of each side.

    Args:
        trade: The fill.
        value: What a lot is worth per tick, in the smallest unit of money.
        fees: What it costs.
        settlement: When it is settled.
    """
    worth = trade.price * value * trade.lots
    day = day_of_ns(trade.at_ns)
    moved: list[Transfer] = []
    if trade.buyer != trade.seller:
        buyer, seller = (trade.buyer, Purse.PENDING), (trade.seller, Purse.PENDING)
        moved = [Transfer(*buyer, *seller, CASH, worth), Transfer(*seller, *buyer, str(trade.book), trade.lots)]
    return Entry(
        "trade",
        f"trade/{trade.sequence}/{trade.number}",
        trade.at_ns // 1_000,
        day,
        settlement.due(day),
        (*moved, *_fees(trade, worth, fees)),
        sequence=trade.sequence,
        book=trade.book,
        price=trade.price,
        lots=trade.lots,
    )


def _fees(trade: Trade, worth: int, fees: FeeSchedule) -> Iterator[Transfer]:
    for account, side in ((trade.buyer, Side.BUY), (trade.seller, Side.SELL)):
        maker_or_taker = fees.taker_ppm if trade.aggressor == side else fees.maker_ppm
        fee = fees.fee(worth, maker_or_taker if trade.aggressor else fees.auction_ppm)
        if fee > 0:
            yield Transfer(account, Purse.FEES, HOUSE, Purse.FEES, CASH, fee)
        elif fee < 0:
            yield Transfer(HOUSE, Purse.FEES, account, Purse.FEES, CASH, -fee)


def entry_of_payment(payment: Payment) -> Entry:
    """Return the entry of money that came in or went out: settled at once."""
    outside, account = (OUTSIDE, Purse.SETTLED), (payment.account, Purse.SETTLED)
    first, second = (outside, account) if payment.amount > 0 else (account, outside)
    day = day_of_ns(payment.at_ns)
    return Entry(
        "payment",
        f"payment/{payment.sequence}",
        payment.at_ns // 1_000,
        day,
        day,
        (Transfer(*first, *second, CASH, abs(payment.amount)),) if payment.amount else (),
        sequence=payment.sequence,
    )


def entry_of_carried(carried: Carried) -> Entry:
    """Return the entry of what an account had where the tape begins: from outside, and settled."""
    outside, account = (OUTSIDE, Purse.SETTLED), (carried.account, Purse.SETTLED)
    had = [(CASH, carried.cash), *((str(book), lots) for book, lots in carried.positions)]
    moved = [
        Transfer(*(outside if amount > 0 else account), *(account if amount > 0 else outside), asset, abs(amount))
        for asset, amount in had
        if amount
    ]
    day = day_of_ns(carried.at_ns)
    return Entry(
        "payment",
        f"carried/{carried.sequence}/{carried.account}",
        carried.at_ns // 1_000,
        day,
        day,
        tuple(moved),
        sequence=carried.sequence,
    )


def reversal_of(position: int, transfers: Sequence[Transfer], *, at_us: int, reason: str, by: str) -> Entry:
    """Return the entry that takes back the transfers of the one at `position`.

    What was fees goes back as such; all else moves between purses of corrections, since the venue does not know of it.
    """
    return Entry(
        "reversal",
        f"reversal/{position}",
        at_us,
        day_of_us(at_us),
        day_of_us(at_us),
        tuple(_taken_back(each) for each in transfers),
        reverses=position,
        reason=reason,
        by=by,
    )


def _taken_back(transfer: Transfer) -> Transfer:
    purse = Purse.FEES if transfer.from_purse == Purse.FEES else Purse.CORRECTIONS
    return Transfer(transfer.to_account, purse, transfer.from_account, purse, transfer.asset, transfer.amount)
