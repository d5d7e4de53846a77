"""Whatever the exchange reads from outside: valid samples, what reads them, and what that may raise.

`changed` makes of a sample what is nearly one; `seal` makes its checksums right again, so that what is behind them is
looked at. `read` goes as deep as bytes alone decide.
"""

import asyncio
import gzip
import io
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from hypothesis import strategies as st
from replay_samples import itch_bytes, recorded
from tally import orders

from archstone.systems.exchange.desk.board import Board
from archstone.systems.exchange.entry import REPORT, Reports, reports_of
from archstone.systems.exchange.entry.binary import Choice
from archstone.systems.exchange.entry.binary.messages import Logon, logon, read_logon
from archstone.systems.exchange.entry.fix.codec import Framer, FramingError, encoded
from archstone.systems.exchange.feed import Feed, MarketClient
from archstone.systems.exchange.feed.image import BookImage, ImageError
from archstone.systems.exchange.feed.packets import (
    HEAD,
    MESSAGE,
    REQUEST,
    Carries,
    PacketError,
    packed,
    read_ask,
    read_packet,
)
from archstone.systems.exchange.matching import COMMAND
from archstone.systems.exchange.matching.digest import digest_of
from archstone.systems.exchange.reading import Reader
from archstone.systems.exchange.replaying import DamagedFileError, ItchReader, LobsterReader, with_rows, write_lobster
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.sequencer.errors import LogDamagedError
from archstone.systems.exchange.sequencer.frames import FRAME_HEADER_BYTES, NOTHING, Frame, Mark, decode, fault
from archstone.systems.exchange.sequencer.log import CommandLog
from archstone.systems.exchange.sequencer.network import MESSAGE_BYTES, Message, Say, encode
from archstone.systems.exchange.sequencer.network import decode as decode_message
from archstone.systems.exchange.sequencer.snapshots import Snapshot
from archstone.systems.exchange.tape.events import FactsTold
from archstone.systems.exchange.tape.facts import Payment, Trade
from archstone.systems.exchange.venue import DumpError, NativeVenue, ReferenceVenue, Venue
from archstone.systems.exchange.venue.flows import venue_flow
from archstone.systems.exchange.venue.state import HEADER, State, loaded, words_of, wrapped
from archstone.systems.exchange.web import messages

__all__ = ["CODECS", "Codec", "changed"]

AT_NS: Final = 1_700_000_000_000_000_000


class Codec(NamedTuple):
    """One of them."""

    samples: Callable[[], Sequence[bytes]]
    read: Callable[[bytes], object]
    raises: tuple[type[Exception], ...] = ()
    """What may come out of `read`, besides what it returns."""
    seal: Callable[[bytes], bytes] = bytes


EDGES: Final = [0, 1, 0x7F, 0x80, 0xFF, *b' \n",.-0[{}]']
NUMBERS: Final = [0, 1, 2**7 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


@st.composite
def changed(draw: st.DrawFn, sample: bytes) -> bytes:
    """Bytes that differ from a sample in up to three places."""
    data = bytearray(sample)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["byte", "number", "in", "out", "twice", "end"])):
            case "byte":
                data[at : at + 1] = [draw(st.sampled_from(EDGES))]
            case "number":
                wide = draw(st.sampled_from([1, 2, 4, 8]))
                number = draw(st.sampled_from(NUMBERS)) % 2 ** (8 * wide)
                at -= at % wide
                data[at : at + wide] = number.to_bytes(wide, draw(st.sampled_from(["little", "big"])))
            case "in":
                data[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "out":
                del data[at : at + draw(st.integers(1, 80))]
            case "twice":
                data[at:at] = data[at : at + draw(st.integers(1, 80))]
            case _:
                del data[at:]
    return bytes(data)


# The venue and its commands


@cache
def batches(name: str, count: int) -> list[tuple[np.ndarray, int]]:
    return [*islice(venue_flow(name, seed=4), count)]


@cache
def played(name: str) -> ReferenceVenue:
    venue = ReferenceVenue()
    for commands, at_ns in batches(name, 9):
        venue.apply(commands, at_ns)
    return venue


def native() -> type[NativeVenue] | None:
    try:
        NativeVenue()
    except ImportError:
        return None
    return NativeVenue


def read_commands(data: bytes) -> None:
    """Both venues say the same of any commands."""
    slow, fast = ReferenceVenue(), native()
    other: Venue = slow if fast is None else fast()
    for commands in (batches("tight", 1)[0][0], np.frombuffer(data, COMMAND, len(data) // COMMAND.itemsize)):
        told = slow.apply(commands, AT_NS)
        assert other is slow or other.apply(commands, AT_NS).tobytes() == told.tobytes()
    assert other.digest() == slow.digest()


def seal_dump(data: bytes) -> bytes:
    """Give a dump the checksum, and if it can be loaded the digest, that fit."""
    body = data[HEADER.itemsize :]
    with suppress(DumpError):
        state, _ = loaded(wrapped(body, 0))
        return wrapped(body, digest_of(words_of(state), []))
    return wrapped(body, 0)


def read_dump(data: bytes) -> None:
    """Both venues take a dump, or both refuse it; and go on in the same way."""
    slow, other = taken(ReferenceVenue, data), taken(native() or ReferenceVenue, data)
    assert (slow is None) == (other is None), "one of them takes it"
    if slow is None or other is None:
        raise DumpError("both refuse it")
    assert slow.dump() == other.dump() == data
    if is_moderate(slow.state):
        [*_, (commands, at_ns)] = batches("tight", 10)
        assert other.apply(commands, at_ns).tobytes() == slow.apply(commands, at_ns).tobytes()
        assert other.dump() == slow.dump()


def taken(kind: type[ReferenceVenue] | type[NativeVenue], data: bytes) -> Any:
    try:
        return kind.load(data)
    except DumpError as error:
        assert str(error)  # noqa: PT017
        return None


def is_moderate(state: State) -> bool:
    """Whether sums stay within the 128 bits of C++; of what somebody made up they need not."""
    accounts = state.accounts.values()
    return all(abs(each.cash) < 2**90 for each in accounts) and all(
        abs(holding.position) < 2**36 for each in accounts for holding in each.holdings.values()
    )


# The sequencer


def frames() -> list[Frame]:
    first = Frame.after(NOTHING, np.zeros(0, COMMAND), at_ns=AT_NS, epoch=1, digest=7)
    second = Frame.after(first.mark, batches("quiet", 2)[0][0].copy(), at_ns=AT_NS)
    return [first, second, Frame.after(second.mark, orders(3), at_ns=AT_NS + 1)]


def whole(frame: Frame) -> bytes:
    return b"".join(bytes(part) for part in frame.parts)


def seal_frame(data: bytes) -> bytes:
    if len(data) < FRAME_HEADER_BYTES:
        return data
    size = int.from_bytes(data[52:56], "little")
    return data[:4] + zlib.crc32(data[8:size]).to_bytes(4, "little") + data[8:]


def read_frame(data: bytes) -> None:
    frame = decode(data)
    if frame is None:
        return
    before = frames()
    for mark in (NOTHING, before[0].mark, Mark(frame.epoch, frame.first - 1, frame.at_ns, frame.before)):
        if fault(frame, mark) is None:
            ReferenceVenue().apply(frame.commands, frame.at_ns)
            assert Mark.decode(frame.mark.encode()) == frame.mark


def log_file() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        log = CommandLog(Path(folder))
        log.open()
        for frame in frames():
            log.append(frame)
        log.close()
        [file] = Path(folder).glob("*.log")
        return [file.read_bytes()]


def seal_log(data: bytes) -> bytes:
    """Make the checksum of the header right, and those of the frames as far as their sizes lead."""
    sealed = bytearray(data)
    sealed[60:64] = zlib.crc32(sealed[:60]).to_bytes(4, "little")
    at = 64
    while at + FRAME_HEADER_BYTES <= len(sealed):
        size = int.from_bytes(sealed[at + 52 : at + 56], "little")
        if size < FRAME_HEADER_BYTES or at + size > len(sealed):
            break
        sealed[at : at + size] = seal_frame(bytes(sealed[at : at + size]))
        at += size
    return bytes(sealed)


def read_log(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "00000000000000000001-0000000000.log").write_bytes(data)
        log = CommandLog(folder)
        try:
            log.open()
            for frame in log.read(log.begin.position):
                assert frame.last <= log.end.sequence
        finally:
            log.close()


def snapshots() -> list[bytes]:
    snapshot = Snapshot(Mark(3, 70, AT_NS, 5), played("tight").digest(), played("tight").dump())
    return [snapshot.head + snapshot.dump]


def seal_snapshot(data: bytes) -> bytes:
    if len(data) < 64:
        return data
    head = data[:48] + len(data[64:]).to_bytes(8, "little") + zlib.crc32(data[64:]).to_bytes(4, "little")
    return head + zlib.crc32(head).to_bytes(4, "little") + data[64:]


def read_snapshot(data: bytes) -> None:
    snapshot = Snapshot.decode(data)
    if snapshot is not None:
        ReferenceVenue.load(snapshot.dump)


def node_messages() -> list[bytes]:
    bodies = [
        b"",
        b'{"what": 1, "node": "a/1", "other": ""}',
        b'{"node": "a/1", "epochs": [[0, 0], [1, 5]]}',
        bytes(64),
    ]
    return [encode(Message(kind, 1, 2, 3, body)) for kind in Say for body in bodies]


def seal_message(data: bytes) -> bytes:
    size = int.from_bytes(data[4:8], "little")
    body = data[MESSAGE_BYTES : MESSAGE_BYTES + size]
    crc = zlib.crc32(body, zlib.crc32(data[:36]))
    return data[:36] + crc.to_bytes(4, "little") + data[MESSAGE_BYTES:] if len(data) >= MESSAGE_BYTES else data


def read_messages(data: bytes) -> None:
    view = memoryview(data)
    while (message := decode_message(view)) is not None:
        view = view[MESSAGE_BYTES + len(message.body) :]


# Order entry


def fix_messages() -> list[bytes]:
    head = [(49, "ANN"), (56, "ARC"), (34, 1), (52, "20260101-00:00:00.000")]
    order = [(11, 1), (55, "ACME"), (54, 1), (38, 10), (40, 2), (44, "101.50"), (59, 0), (60, "20260101-00:00:00.000")]
    logon_ = [(98, 0), (108, 30), (141, "Y"), (553, "ann"), (554, "secret")]
    return [encoded("A", [*head, *logon_]) + encoded("D", [*head, *order]), encoded("D", [*head, *order])]


def seal_fix(data: bytes) -> bytes:
    """Make length and checksum of a stream of messages right, each from `8=` to where the next one begins."""
    parts = [b"8=FIX.4.4\x019=" + part for part in data.split(b"8=FIX.4.4\x019=")]
    return b"".join(sealed_fix(part) for part in parts[1:]) if len(parts) > 1 else data


def sealed_fix(message: bytes) -> bytes:
    length, found, body = message[len(b"8=FIX.4.4\x019=") :].partition(b"\x01")
    if not found or not length.isdigit():
        return message
    body = body[: body.rfind(b"10=")] if b"10=" in body else body
    framed = b"8=FIX.4.4\x019=%d\x01" % len(body) + body
    return framed + b"10=%03d\x01" % (sum(framed) % 256)


def read_fix(data: bytes) -> None:
    framer = Framer()
    for start in range(0, len(data), 50):
        for each in framer.feed(data[start : start + 50]):
            assert str(each)


def reports() -> list[bytes]:
    rows = np.zeros(3, REPORT)
    rows["kind"] = 1
    return [rows.tobytes()]


def read_reports(data: bytes) -> object:
    return reports_of(np.frombuffer(data, REPORT, len(data) // REPORT.itemsize))


# Market data


def images() -> list[bytes]:
    image, venue, first = BookImage(), ReferenceVenue(), 1
    for commands, at_ns in batches("quiet", 5):
        image.apply(Batch(first, at_ns, commands, venue.apply(commands, at_ns)))
        first += len(commands)
    return [image.dump()]


def seal_end(data: bytes) -> bytes:
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")


def read_image(data: bytes) -> None:
    image = BookImage.load(data)
    for book in image.books:
        image.depth(book)


def packets() -> list[bytes]:
    rows = np.zeros(4, MESSAGE)
    rows["kind"], rows["side"], rows["book"], rows["price"], rows["quantity"] = [1, 2, 3, 4], 1, 1, 100, 5
    return [packed(kind, 7, 9, sent_ns=5, messages=rows) for kind in Carries]


def seal_packet(data: bytes) -> bytes:
    if len(data) < HEAD.itemsize:
        return data
    zeroed = data[:24] + bytes(4) + data[28:]
    return data[:24] + zlib.crc32(zeroed).to_bytes(4, "little") + data[28:]


def read_packets(data: bytes) -> None:
    """A client takes it, whatever it says, and can be asked for its books."""
    read_packet(data)
    client = MarketClient(never)
    client.session, client.number = 7, 9
    client.receive(data)
    for book in client.books:
        client.depth(book)


async def never(*_: object) -> Sequence[object]:
    raise OSError


def asks() -> list[bytes]:
    return [np.array((1, kind, 5, 7, 9), REQUEST).tobytes() for kind in (1, 2)]


# Files


@cache
def lobster() -> tuple[bytes, bytes]:
    kept, rows = with_rows(recorded()[:20], levels=2)
    first, second = io.StringIO(), io.StringIO()
    write_lobster(first, second, kept, rows)
    return first.getvalue().encode(), second.getvalue().encode()


def read_file(name: str, reader: Callable[[Path], object]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(data)
            reader(file)

    return read


def read_itch(file: Path) -> None:
    for piece in ItchReader(file, piece_bytes=1_000):
        assert len(piece)


def read_lobster(file: Path) -> None:
    for piece in LobsterReader(file, piece_bytes=1_000):
        assert piece.rows is None


def read_orderbook(file: Path) -> None:
    messages_file = file.with_name("messages")
    messages_file.write_bytes(lobster()[0])
    for piece in LobsterReader(messages_file, file, piece_bytes=1_000):
        assert piece.rows is not None
        assert len(piece.rows) == len(piece.messages)


def checkpoints() -> list[bytes]:
    board, venue, first = Board(), ReferenceVenue(), 1
    for commands, at_ns in batches("quiet", 4):
        board.take(Batch(first, at_ns, commands, venue.apply(commands, at_ns)))
        first += len(commands)
    return [asyncio.run(board.dump())]


def seal_checkpoint(data: bytes) -> bytes:
    _, _, kept = data.partition(b"\n")
    return b"exchange board 2 %08x\n" % zlib.crc32(kept) + kept


def kept(make: Callable[[], Reader]) -> list[bytes]:
    reader, venue, first = make(), ReferenceVenue(), 1
    for commands, at_ns in batches("quiet", 4):
        reader.read(Batch(first, at_ns, commands, venue.apply(commands, at_ns)))
        first += len(commands)
    return [asyncio.run(reader.dump())]


# JSON


def facts() -> list[bytes]:
    trade = Trade(1, 0, AT_NS, 1, 100, 5, 7, 1, 8, 1, 1)
    told = FactsTold(number=1, through=4, trades=(trade,), values=((1, 100),), payments=(Payment(2, AT_NS, 7, -5),))
    return [told.encode()]


SAID: Final = [
    b'{"op":"subscribe","ref":"a","channels":["quotes","depth:ACME","candles:ACME:60"],"after":5}',
    b'{"op":"unsubscribe","channels":["reports"]}',
    b'{"op":"place","ref":"b","order":{"symbol":"ACME","side":"buy","quantity":5,"price":101,"tif":"gtc","trigger":7}}',
    b'{"op":"replace","number":4,"quantity":5,"price":101}',
    b'{"op":"cancel","number":4}',
    b'{"op":"cancel_all","symbol":"ACME","side":"sell"}',
    b'{"op":"ping"}',
]


CODECS: Final = {
    "commands": Codec(lambda: [batches("quiet", 9)[8][0][:20].tobytes()], read_commands),
    "dumps of venues": Codec(lambda: [played("tight").dump()], read_dump, (DumpError,), seal_dump),
    "frames": Codec(lambda: [whole(each) for each in frames()], read_frame, (), seal_frame),
    "log files": Codec(log_file, read_log, (LogDamagedError,), seal_log),
    "snapshots": Codec(snapshots, read_snapshot, (DumpError,), seal_snapshot),
    "messages of nodes": Codec(node_messages, read_messages, (ConnectionError,), seal_message),
    "logons": Codec(
        lambda: [logon(Logon(7, Choice(0), 1, 2, 3, 4), b"key")], lambda data: read_logon(data[:64].ljust(64))
    ),
    "reports": Codec(reports, read_reports),
    "FIX messages": Codec(fix_messages, read_fix, (FramingError,), seal_fix),
    "images of books": Codec(images, read_image, (ImageError,), seal_end),
    "packets of market data": Codec(packets, read_packets, (PacketError,), seal_packet),
    "requests for packets": Codec(asks, read_ask, (PacketError,)),
    "ITCH files": Codec(lambda: [itch_bytes(recorded()[:20])], read_file("day", read_itch), (DamagedFileError,)),
    "packed files": Codec(
        lambda: [gzip.compress(itch_bytes(recorded()[:20]))], read_file("day.gz", read_itch), (DamagedFileError,)
    ),
    "LOBSTER messages": Codec(lambda: [lobster()[0]], read_file("day", read_lobster), (DamagedFileError,)),
    "LOBSTER books": Codec(lambda: [lobster()[1]], read_file("books", read_orderbook), (DamagedFileError,)),
    "checkpoints of the board": Codec(checkpoints, lambda data: Board().load(data), (ValueError,), seal_checkpoint),
    "kept reports": Codec(lambda: kept(Reports), lambda data: Reports().load(data), (ValueError,)),
    "kept market data": Codec(lambda: kept(Feed), lambda data: Feed().load(data), (ValueError,)),
    "facts of the tape": Codec(facts, FactsTold.decode, (ValueError,)),
    "messages of the stream": Codec(lambda: SAID, lambda data: messages.read(data.decode("latin-1")), (ValueError,)),
}
