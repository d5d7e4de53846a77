"""The whole state of a venue, and its form as bytes: the same for every class of venue, and not tied to any of them.

A dump is little-endian and without gaps, one record after another:

    HEADER                          magic, version, CRC-32 of all that follows it in the header and behind, digest
    VENUE
    then for each book, lowest first
        BOOK
        SLICE x slices              the breaker's window, oldest first
        ORDER x buys                in the order in which they trade, those without a price first
        ORDER x sells
        ORDER x buy_stops           in the order in which they wake
        ORDER x sell_stops
    then for each account, lowest first
        ACCOUNT
        HOLDING x holdings          lowest book first, positions of 0 left out

What is reserved follows from the orders and is not in it. Amounts of money have 128 bits, in two halves. A dump that is
cut, longer than it says, or changed in any bit is refused.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from archstone.errors import ArchstoneError
from archstone.systems.exchange.matching import Limit, Phase, ReferenceEngine
from archstone.systems.exchange.matching.book import Order
from archstone.systems.exchange.venue.accounts import Account, Holding, Open
from archstone.systems.exchange.venue.breaker import Breaker, Slice
from archstone.systems.exchange.venue.market import Market
from archstone.systems.exchange.venue.port import MAX_NS
from archstone.systems.exchange.venue.sound import adds_up, is_account, is_book, is_order, is_slice

__all__ = ["VERSION", "DumpError", "State", "body_of", "dumped", "loaded", "words_of", "wrapped"]

MAGIC: Final = b"ARCHVENU"
VERSION: Final = 2
"""Of the form, and of the rules: another one gives another digest, so that no log is done by other rules unnoticed."""
HEADER: Final = np.dtype([("magic", "S8"), ("version", "<u4"), ("crc", "<u4"), ("digest", "<u8")])
VENUE: Final = np.dtype([("now_ns", "<i8"), ("killed", "<u4"), ("books", "<u4"), ("accounts", "<u4"), ("spare", "<u4")])
BOOK: Final = np.dtype(
    [
        ("book", "<u4"),
        ("phase", "<u4"),
        ("value", "<u4"),
        ("most", "<u4"),
        ("collar", "<u4"),
        ("halt", "<u4"),
        ("window_ns", "<i8"),
        ("pause_ns", "<i8"),
        ("auction_ns", "<i8"),
        ("due_ns", "<i8"),
        ("last", "<i8"),
        ("reference", "<i8"),
        ("band_low", "<i8"),
        ("band_high", "<i8"),
        ("slices", "<u4"),
        ("buys", "<u4"),
        ("sells", "<u4"),
        ("buy_stops", "<u4"),
        ("sell_stops", "<u4"),
        ("margin", "<u4"),
    ]
)
SLICE: Final = np.dtype([("number", "<i8"), ("low", "<u4"), ("high", "<u4")])
ORDER: Final = np.dtype(
    [
        ("id", "<u8"),
        ("account", "<u4"),
        ("side", "u1"),
        ("type", "u1"),
        ("tif", "u1"),
        ("flags", "u1"),
        ("stp", "u1"),
        ("spare", "u1", 3),
        ("price", "<u4"),
        ("left", "<u4"),
        ("display", "<u4"),
        ("trigger", "<u4"),
        ("shown", "<u4"),
    ]
)
ACCOUNT: Final = np.dtype(
    [
        ("account", "<u4"),
        ("killed", "<u4"),
        ("cash", "<u8"),
        ("cash_high", "<i8"),
        ("paid_in", "<u8"),
        ("paid_in_high", "<i8"),
        ("credit", "<i8"),
        ("quantity", "<i8"),
        ("worth", "<i8"),
        ("position", "<i8"),
        ("rate", "<i8"),
        ("orders", "<i8"),
        ("second", "<i8"),
        ("sent", "<u4"),
        ("last_number", "<u4"),
        ("holdings", "<u4"),
        ("last_deposit", "<u4"),
    ]
)
HOLDING: Final = np.dtype([("book", "<u4"), ("spare", "<u4"), ("position", "<i8")])

_LOW: Final = 2**64 - 1
_TERMS: Final = ("book", "value", "most", "collar", "margin")
_QUEUES: Final = ("buys", "sells", "buy_stops", "sell_stops")
_FIELDS: Final = [name for name in ORDER.names or () if name != "spare"]


class DumpError(ArchstoneError, ValueError, code="exchange.dump"):
    """A venue's dump is damaged, or of a version that is not known here. Nothing was loaded."""


@dataclass(slots=True)
class State:
    """All that decides about a venue's future."""

    markets: dict[int, Market] = field(default_factory=dict[int, Market])
    """By book, lowest first."""
    accounts: dict[int, Account] = field(default_factory=dict[int, Account])
    killed: bool = False
    """Everybody's kill switch."""
    now_ns: int = 0
    """Of the last commands."""


def words_of(state: State) -> Iterator[int]:
    """Give the numbers that the digest is made of, each 64 bits."""
    yield from (VERSION, state.now_ns, state.killed, len(state.markets), len(state.accounts))
    for market in state.markets.values():
        breaker = market.breaker
        yield from (market.book, market.value, market.most, market.collar, market.margin)
        yield from (breaker.halt, breaker.window_ns, breaker.pause_ns, breaker.auction_ns, breaker.due_ns)
        for each in breaker.slices:
            yield from (each.number, each.low, each.high)
        yield market.engine.digest()
    for _, account in sorted(state.accounts.items()):
        yield from (account.number, account.killed, account.last_number, account.last_deposit)
        yield from (account.second, account.sent)
        for money in (account.cash, account.paid_in, account.reserved):
            yield from (money & _LOW, money >> 64 & _LOW)
        yield from (account.limits[each] for each in Limit)
        for book, holding in sorted(account.holdings.items()):
            if holding:
                yield from (book, holding.position & _LOW, holding.buying, holding.selling)


def dumped(state: State, digest: int) -> bytes:
    """Return the dump of a state."""
    return wrapped(b"".join(_parts(state)), digest)


def wrapped(body: bytes, digest: int) -> bytes:
    """Return the dump that consists of a header and `body`, which begins with VENUE."""
    header = np.zeros((), HEADER)
    header["magic"], header["version"], header["digest"] = MAGIC, VERSION, digest
    header["crc"] = zlib.crc32(body, zlib.crc32(header["digest"].tobytes()))
    return header.tobytes() + body


def body_of(dump: bytes) -> tuple[bytes, int]:
    """Return what follows the header of a dump that is whole, and the digest that its venue has.

    Raises:
        DumpError: It is damaged, or of another version.
    """
    if len(dump) < HEADER.itemsize or dump[: len(MAGIC)] != MAGIC:
        raise DumpError(f"these {len(dump)} bytes are no dump of a venue")
    [header] = np.frombuffer(dump, HEADER, 1)
    body = dump[HEADER.itemsize :]
    if header["version"] != VERSION:
        raise DumpError(f"the dump has version {header['version']}, not {VERSION}: use the program that wrote it")
    if header["crc"] != zlib.crc32(body, zlib.crc32(header["digest"].tobytes())):
        raise DumpError(f"the dump is damaged: its {len(dump)} bytes do not fit their checksum; take an older one")
    return body, int(header["digest"])


def _parts(state: State) -> Iterator[bytes]:
    yield _record(
        VENUE, now_ns=state.now_ns, killed=state.killed, books=len(state.markets), accounts=len(state.accounts)
    )
    for market in state.markets.values():
        yield from _book_parts(market)
    for _, account in sorted(state.accounts.items()):
        yield from _account_parts(account)


def _book_parts(market: Market) -> Iterator[bytes]:
    breaker, engine, queues = market.breaker, market.engine, market.engine.queues()
    yield _record(
        BOOK,
        **{name: getattr(market, name) for name in _TERMS},
        **{name: getattr(breaker, name) for name in ("halt", "window_ns", "pause_ns", "auction_ns", "due_ns")},
        **{name: getattr(engine, name) for name in ("phase", "last", "reference")},
        **dict(zip(("band_low", "band_high"), engine.band, strict=True)),
        **{name: len(queue) for name, queue in zip(_QUEUES, queues, strict=True)},
        slices=len(breaker.slices),
    )
    yield np.array([(each.number, each.low, each.high) for each in breaker.slices], SLICE).tobytes()
    for queue in queues:
        yield _columns(ORDER, {name: [getattr(order, name) for order in queue] for name in _FIELDS}, len(queue))


def _account_parts(account: Account) -> Iterator[bytes]:
    held = [(book, 0, each.position) for book, each in sorted(account.holdings.items()) if each.position]
    yield _record(
        ACCOUNT,
        account=account.number,
        **{name: getattr(account, name) for name in ("killed", "second", "sent", "last_number", "last_deposit")},
        cash=account.cash & _LOW,
        cash_high=account.cash >> 64,
        paid_in=account.paid_in & _LOW,
        paid_in_high=account.paid_in >> 64,
        **dict(zip(_LIMITS, (account.limits[each] for each in Limit), strict=True)),
        holdings=len(held),
    )
    yield np.array(held, HOLDING).tobytes()


_LIMITS: Final = ("credit", "quantity", "worth", "position", "rate", "orders")


def _record(form: np.dtype[np.void], **fields: int) -> bytes:
    return _columns(form, {name: [value] for name, value in fields.items()}, 1)


def _columns(form: np.dtype[np.void], columns: dict[str, list[int]], count: int) -> bytes:
    rows = np.zeros(count, form)
    for name, values in columns.items():
        rows[name] = values
    return rows.tobytes()


@dataclass(slots=True)
class _Reader:
    body: bytes
    at: int = 0

    def take(self, form: np.dtype[np.void], count: int = 1) -> list[dict[str, Any]]:
        """Return the next records."""
        size = form.itemsize * count
        if len(self.body) - self.at < size:
            raise DumpError(f"the dump ends at byte {len(self.body)}, within its records")
        rows = np.frombuffer(self.body, form, count, self.at)
        self.at += size
        names = [name for name in form.names or () if name != "spare"]
        columns = [rows[name].tolist() for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def loaded(dump: bytes) -> tuple[State, int]:
    """Return the state of a dump, and the digest that it must have.

    Raises:
        DumpError: It is damaged, or of another version.
    """
    body, digest = body_of(dump)
    try:
        return _state(_Reader(body)), digest
    except DumpError:
        raise
    except (KeyError, ValueError, OverflowError) as error:
        raise DumpError(f"the dump has a record that cannot be: {error!r}") from error


def _state(reader: _Reader) -> State:
    [venue] = reader.take(VENUE)
    _require(0 <= venue["now_ns"] <= MAX_NS, "time", venue["now_ns"])
    state = State(killed=bool(venue["killed"]), now_ns=venue["now_ns"])
    for _ in range(venue["books"]):
        market = _market(reader)
        state.markets[market.book] = market
    for _ in range(venue["accounts"]):
        account = _account(reader)
        state.accounts[account.number] = account
    if reader.at != len(reader.body):
        raise DumpError(f"the dump has {len(reader.body) - reader.at} bytes behind its last record")
    for market in state.markets.values():
        for order in market.orders.values():
            state.accounts[order.account].orders += 1
            state.accounts[order.account].bind(market.book, order, order.left, market.value)
    for account in state.accounts.values():
        _require(adds_up(account, state.markets), "sum of what is held, owed and open, of account", account.number)
    return state


def _require(sound: bool, what: str, name: int) -> None:  # noqa: FBT001 - it is what is required
    if not sound:
        raise DumpError(f"the dump has a record that cannot be: {what} {name}")


def _market(reader: _Reader) -> Market:
    [fields] = reader.take(BOOK)
    _require(is_book(fields), "book", fields["book"])
    breaker = Breaker(*(fields[name] for name in ("halt", "window_ns", "pause_ns", "auction_ns")))
    breaker.due_ns = fields["due_ns"]
    breaker.slices = [Slice(**each) for each in reader.take(SLICE, fields["slices"])]
    _require(all(is_slice(each, breaker) for each in breaker.slices), "slice of the window of book", fields["book"])
    engine = ReferenceEngine(phase=Phase(fields["phase"]))
    engine.last, engine.reference = fields["last"], fields["reference"]
    engine.band = (fields["band_low"], fields["band_high"])
    queues = [[Order(**each) for each in reader.take(ORDER, fields[name])] for name in _QUEUES]
    for at, order in ((at, order) for at, queue in enumerate(queues) for order in queue):
        _require(is_order(order, at), "order", order.id)
    engine.restore(queues)
    terms = {name: fields[name] for name in _TERMS}
    market = Market(**terms, breaker=breaker, engine=engine)
    market.orders = {order.id: Open(order.account, order.side, order.price, order.left) for order in _all(queues)}
    _require(len(market.orders) == sum(map(len, queues)), "order that is there twice, of book", market.book)
    return market


def _all(queues: Iterable[Iterable[Order]]) -> Iterator[Order]:
    return (order for queue in queues for order in queue)


def _account(reader: _Reader) -> Account:
    [fields] = reader.take(ACCOUNT)
    account = Account(
        fields["account"],
        cash=fields["cash"] | fields["cash_high"] << 64,
        paid_in=fields["paid_in"] | fields["paid_in_high"] << 64,
        limits=dict(zip(Limit, (fields[name] for name in _LIMITS), strict=True)),
        killed=bool(fields["killed"]),
        last_number=fields["last_number"],
        last_deposit=fields["last_deposit"],
        second=fields["second"],
        sent=fields["sent"],
    )
    account.holdings = {each["book"]: Holding(each["position"]) for each in reader.take(HOLDING, fields["holdings"])}
    _require(is_account(account), "account", account.number)
    return account
