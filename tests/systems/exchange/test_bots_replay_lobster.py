"""Files of LOBSTER: the published columns, round trips, and damage that is refused with its line."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_samples import lobster_files, recorded, told

from archstone.errors import ConfigError
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.replaying import (
    MESSAGE,
    DamagedFileError,
    Happened,
    LobsterReader,
    Messages,
    orderbook_of,
    write_lobster,
)

TWO = b"34200.017459617,1,206833312,100,1186600,-1\n34200.1,4,206833312,60,1186600,-1\n"
ROWS = b"1186600,100,1185000,8800\n1186600,40,1185000,8800\n"


@pytest.fixture(scope="module")
def day() -> Messages:
    """What bots did in a while."""
    return recorded()


def read(folder: Path, messages: bytes, rows: bytes | None = None, **more) -> tuple[Messages, np.ndarray]:
    file, orderbook = folder / "A_message_1.csv", folder / "A_orderbook_1.csv"
    file.write_bytes(messages)
    if rows is not None:
        orderbook.write_bytes(rows)
    pieces = [*LobsterReader(file, None if rows is None else orderbook, **more)]
    found = [piece.rows for piece in pieces if piece.rows is not None]
    return np.concatenate([np.zeros(0, MESSAGE), *(piece.messages for piece in pieces)]), np.concatenate(found or [[]])


def test_lines_of_the_documentation_are_read(tmp_path: Path) -> None:
    messages, rows = read(tmp_path, TWO, ROWS)
    assert messages[["kind", "side", "at_ns", "id", "price", "quantity"]].tolist() == [
        (Happened.ADDED, Side.SELL, 34_200_017_459_617, 206833312, 1186600, 100),
        (Happened.EXECUTED, Side.SELL, 34_200_100_000_000, 206833312, 1186600, 60),
    ]
    assert rows.tolist() == [[1186600, 100, 1185000, 8800], [1186600, 40, 1185000, 8800]]


def test_halts_are_told_by_their_price(tmp_path: Path) -> None:
    messages, _ = read(tmp_path, b"1.5,7,0,0,-1,-1\n2,7,0,0,0,-1\n3.25,7,0,0,1,-1\n")
    assert messages["kind"].tolist() == [Happened.ACTION] * 3
    assert bytes(messages["state"]) == b"HQT"
    assert messages["price"].tolist() == [0, 0, 0]


def test_the_orderbook_file_is_found_beside_it(day, tmp_path: Path) -> None:
    file = lobster_files(tmp_path, day)
    assert orderbook_of(file) == tmp_path / file.name.replace("message", "orderbook")
    assert orderbook_of(tmp_path / "prices.csv") is None


MESSAGES = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "kind": st.sampled_from(
                    [each for each in Happened if each <= Happened.EXECUTED or each == Happened.HIDDEN]
                ),
                "at_ns": st.integers(0, 86_400 * 10**9 - 1),
                "side": st.sampled_from(Side),
                "id": st.integers(0, 10**18),
                "price": st.integers(1, 2**31 - 1),
                "quantity": st.integers(1, 10**9),
            }
        ),
        st.fixed_dictionaries(
            {
                "kind": st.just(Happened.ACTION),
                "at_ns": st.integers(0, 86_400 * 10**9 - 1),
                "state": st.sampled_from([ord(letter) for letter in "HQT"]),
            }
        ),
    ),
    min_size=1,
    max_size=30,
).map(lambda fields: told(*fields))


@given(MESSAGES, st.integers(1, 100))
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read_again_however_it_is_cut(tmp_path_factory, messages, piece_bytes) -> None:
    first, second = io.StringIO(), io.StringIO()
    rows = [[number, 1, -number, 2] for number in range(len(messages))]
    write_lobster(first, second, messages, rows)
    found, books = read(
        tmp_path_factory.getbasetemp(), first.getvalue().encode(), second.getvalue().encode(), piece_bytes=piece_bytes
    )
    assert found.tobytes() == messages.tobytes()
    assert books.tolist() == rows


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path_factory, messages: bytes, rows: bytes) -> None:
    with suppress(DamagedFileError):
        read(tmp_path_factory.getbasetemp(), messages, rows)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"34200.5,1,2,100,1186600", "34200.5,1,2,100,1186600"),
        (b"34200.5,8,2,100,1186600,1", "34200.5,8,2"),
        (b"34200.5,1,2,100,1186600,2", "34200.5,1,2"),
        (b"34200.5,1,2,100,-1,1", "34200.5,1,2"),
        (b"34200.0123456789,1,2,100,1,1", "34200.0123456789"),
        (b"", "''"),
        (b"Time,Type,OrderID,Size,Price,Direction", "Time,Type"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 1_000])
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, line: bytes, shown: str, piece_bytes: int) -> None:
    with pytest.raises(DamagedFileError, match=r"A_message_1.csv, line 3: no line of this format") as caught:
        read(tmp_path, TWO + line + b"\n" + TWO, piece_bytes=piece_bytes)
    assert shown in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (ROWS[:25], "line 2: it ends, and the message file goes on"),
        (ROWS + ROWS, "line 3: it goes on, and the message file has ended"),
        (b"1,2,3\n" * 2, "line 1: 3 columns are no levels of four"),
        (ROWS[:25] + b"1186600,40,1185000\n", "line 2: no line of this format"),
        (ROWS[:25] + b"x,40,1185000,1\n", "line 2: no line of this format"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_their_line(tmp_path: Path, rows: bytes, told: str) -> None:
    with pytest.raises(DamagedFileError, match=f"A_orderbook_1.csv, {told}"):
        read(tmp_path, TWO, rows)


def test_a_line_without_end_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="in a line: it has over 65,536 bytes"):
        read(tmp_path, b"1" * 200_000, piece_bytes=10_000)


def test_what_the_format_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LOBSTER has no REPLACED"):
        write_lobster(io.StringIO(), io.StringIO(), told({"kind": Happened.REPLACED}), [[0, 0, 0, 0]])
