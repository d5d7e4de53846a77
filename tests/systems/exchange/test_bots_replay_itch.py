"""Files of TotalView-ITCH 5.0: the published layouts, round trips, and damage that is refused with its place."""

import gzip
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_samples import SYMBOLS, added, itch_bytes, recorded, told

from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.replaying import MESSAGE, DamagedFileError, Happened, ItchReader, Messages
from archstone.systems.exchange.replaying.layouts import LAYOUTS

SIZES = {
    "S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21, "A": 36, "F": 40, "E": 31,
    "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19, "I": 50, "N": 20, "O": 48,
}  # fmt: skip
"""As the specification counts them, with the letter of the type."""


@pytest.fixture(scope="module")
def day() -> Messages:
    """What bots did in a while."""
    return recorded()


def read(folder: Path, data: bytes, **more) -> tuple[Messages, ItchReader]:
    file = folder / "day.itch"
    file.write_bytes(data)
    reader = ItchReader(file, **more)
    return np.concatenate([np.zeros(0, MESSAGE), *reader]), reader


def framed(*bodies: bytes) -> bytes:
    return b"".join(struct.pack(">H", len(body)) + body for body in bodies)


def head(letter: str, *, locate: int = 1, at_ns: int = 34_200_123_456_789) -> bytes:
    return letter.encode() + struct.pack(">HH", locate, 7) + at_ns.to_bytes(6, "big")


def test_layouts_have_the_sizes_of_the_specification() -> None:
    assert {letter.decode(): layout.itemsize for letter, layout in LAYOUTS.items()} == SIZES


def test_an_add_is_read_from_its_bytes(tmp_path: Path) -> None:
    body = (
        head("A")
        + struct.pack(">Q", 12_345)
        + b"S"
        + struct.pack(">I", 300)
        + b"LAMP    "
        + struct.pack(">I", 1_186_600)
    )
    messages, reader = read(tmp_path, framed(body) + b"\0\0")
    assert reader.ended
    expected = added(12_345, Side.SELL, 1_186_600, 300) | {"at_ns": 34_200_123_456_789}
    assert messages.tolist() == told(expected).tolist()


def test_each_type_that_changes_a_book_is_read_from_its_bytes(tmp_path: Path) -> None:
    order, four = struct.pack(">Q", 9), lambda number: struct.pack(">I", number)
    data = framed(
        head("R") + b"LAMP    " + b"Q" + bytes(19),
        head("H") + b"LAMP    " + b"H" + b" " + b"T1  ",
        head("F") + order + b"B" + four(5) + b"LAMP    " + four(70) + b"MPID",
        head("E") + order + four(2) + bytes(8),
        head("C") + order + four(1) + bytes(8) + b"Y" + four(71),
        head("X") + order + four(1),
        head("U") + order + struct.pack(">Q", 10) + four(4) + four(69),
        head("D") + struct.pack(">Q", 10),
        head("P") + bytes(8) + b"B" + four(3) + b"LAMP    " + four(72) + bytes(8),
        head("Q") + struct.pack(">Q", 5_000_000_000) + b"LAMP    " + four(73) + bytes(8) + b"O",
        head("S") + b"C",
    )
    messages, reader = read(tmp_path, data)
    assert reader.symbols == SYMBOLS
    assert not reader.ended
    fields = ("kind", "side", "state", "id", "other", "price", "quantity")
    assert messages[[*fields]].tolist() == [
        (Happened.LISTED, 0, 0, 0, 0, 0, 0),
        (Happened.ACTION, 0, ord("H"), 0, 0, 0, 0),
        (Happened.ADDED, Side.BUY, 0, 9, 0, 70, 5),
        (Happened.EXECUTED, 0, 0, 9, 0, 0, 2),
        (Happened.PRICED, 0, 0, 9, 0, 71, 1),
        (Happened.REDUCED, 0, 0, 9, 0, 0, 1),
        (Happened.REPLACED, 0, 0, 9, 10, 69, 4),
        (Happened.DELETED, 0, 0, 10, 0, 0, 0),
        (Happened.HIDDEN, Side.BUY, 0, 0, 0, 72, 3),
        (Happened.CROSSED, 0, 0, 0, 0, 73, 5_000_000_000),
        (Happened.OTHER, 0, ord("S"), 0, 0, 0, 0),
    ]


USES = {
    Happened.ADDED: ("side", "id", "price", "quantity"),
    Happened.REDUCED: ("id", "quantity"),
    Happened.DELETED: ("id",),
    Happened.EXECUTED: ("id", "quantity"),
    Happened.PRICED: ("id", "quantity", "price"),
    Happened.REPLACED: ("id", "other", "quantity", "price"),
    Happened.HIDDEN: ("side", "price", "quantity"),
    Happened.CROSSED: ("price", "quantity"),
    Happened.ACTION: ("state",),
    Happened.LISTED: (),
}
RANGES = {
    "side": st.sampled_from(Side),
    "id": st.integers(0, 2**64 - 1),
    "other": st.integers(0, 2**64 - 1),
    "price": st.integers(0, 2**32 - 1),
    "quantity": st.integers(0, 2**32 - 1),
    "state": st.sampled_from([ord(letter) for letter in "HPQT"]),
}
MESSAGES = st.lists(
    st.sampled_from([*USES]).flatmap(
        lambda kind: st.fixed_dictionaries(
            {"kind": st.just(kind), "at_ns": st.integers(0, 2**48 - 1), **{name: RANGES[name] for name in USES[kind]}}
        )
    ),
    max_size=30,
).map(lambda fields: told(*fields))


@given(MESSAGES, st.integers(1, 200), st.booleans())
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read_again_however_it_is_cut(tmp_path_factory, messages, piece_bytes, packed) -> None:
    data = itch_bytes(messages)
    folder = tmp_path_factory.mktemp("itch")
    found, reader = read(folder, gzip.compress(data) if packed else data, piece_bytes=piece_bytes)
    assert found.tobytes() == messages.tobytes()
    assert reader.ended
    assert reader.source.read_bytes == reader.source.size_bytes


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path_factory, data: bytes) -> None:
    with suppress(DamagedFileError):
        read(tmp_path_factory.getbasetemp(), data)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_length_or_a_cut_never_passes_in_silence(day, tmp_path_factory, data) -> None:
    messages = day[:40]
    good = itch_bytes(messages)
    cut = data.draw(st.integers(1, len(good) - 1))
    try:
        found, reader = read(tmp_path_factory.getbasetemp(), good[:cut])
    except DamagedFileError:
        return
    assert not reader.ended
    assert found.tobytes() == itch_read(tmp_path_factory, messages)[: len(found) * MESSAGE.itemsize]


def itch_read(tmp_path_factory, messages: Messages) -> bytes:
    return read(tmp_path_factory.getbasetemp(), itch_bytes(messages))[0].tobytes()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            framed(head("D") + bytes(8)) + framed(head("D") + bytes(7)),
            r"message 2 at byte 21: a message D has 18 bytes inst",
        ),
        (framed(head("D") + bytes(8))[:-3], r"message 1 at byte 0: the file ends 18 bytes after its beginning"),
        (framed(head("D") + bytes(8)) + b"\0", r"message 2 at byte 21: the file ends 1 bytes after its beginning"),
        (b"\0\0" + framed(head("D") + bytes(8)), r"message 1 at byte 2: something follows the end"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 1_000])
def test_damage_is_refused_with_its_place(tmp_path: Path, data: bytes, told: str, piece_bytes: int) -> None:
    with pytest.raises(DamagedFileError, match=f"day.itch, {told}"):
        read(tmp_path, data, piece_bytes=piece_bytes)


def test_a_type_of_a_later_revision_is_passed_over_and_counted(tmp_path: Path) -> None:
    messages, _ = read(tmp_path, framed(b"z" + bytes(70), head("D") + bytes(8)))
    assert messages["kind"].tolist() == [Happened.OTHER, Happened.DELETED]
    assert messages["state"][0] == ord("z")


def test_packed_damage_is_refused_with_its_place(day, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(itch_bytes(day)))
    for broken in (packed[: len(packed) // 2], packed[:-1]):
        with pytest.raises(DamagedFileError, match=r"byte [\d,]+ once unpacked: gzip says"):
            read(tmp_path, bytes(broken))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(DamagedFileError):
        read(tmp_path, bytes(packed))


def test_only_wanted_stocks_are_given(tmp_path: Path) -> None:
    listed = framed(head("R", locate=1) + b"LAMP    " + bytes(20), head("R", locate=2) + b"CHAIR   " + bytes(20))
    data = listed + framed(head("D", locate=1) + bytes(8), head("D", locate=2) + bytes(8), head("S", locate=0) + b"O")
    messages, _ = read(tmp_path, data, symbols=frozenset({"CHAIR"}))
    assert messages["book"].tolist() == [2, 2]
