"""Market data as bytes: round trips, and any bytes end in a packet or in an error that names the fault."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone.systems.exchange.feed.packets import (
    HEAD,
    MESSAGE,
    PER_PACKET,
    REQUEST,
    Carries,
    Message,
    PacketError,
    messages_of,
    packed,
    read_ask,
    read_packet,
)
from archstone.systems.exchange.feed.values import Changes, Level, Phased, Trade


def messages(count: int) -> np.ndarray:
    found = np.zeros(count, MESSAGE)
    found["price"] = range(count)
    return found


def test_records_have_the_sizes_that_are_documented() -> None:
    assert (HEAD.itemsize, MESSAGE.itemsize, REQUEST.itemsize) == (32, 48, 16)
    assert HEAD.itemsize + PER_PACKET * MESSAGE.itemsize <= 1_472
    assert [HEAD.fields[name][1] for name in HEAD.names] == [0, 1, 2, 4, 8, 16, 24, 28]
    assert [MESSAGE.fields[name][1] for name in MESSAGE.names] == [0, 1, 2, 3, 4, 8, 16, 24, 32, 40]


@settings(deadline=None, max_examples=50)
@given(
    kind=st.sampled_from(Carries), session=st.integers(0, 2**32 - 1), number=st.integers(0, 2**64 - 1), data=st.data()
)
def test_a_packet_comes_back(kind: Carries, session: int, number: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, PER_PACKET))
    packet = read_packet(packed(kind, session, number, sent_ns=5, messages=messages(count)))
    assert packet[:4] == (kind, session, number, 5)
    assert packet.messages.tolist() == messages(count).tolist()


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_a_named_fault(data: bytes) -> None:
    with pytest.raises(PacketError, match="packet of"):
        read_packet(data)
    if len(data) != REQUEST.itemsize:
        with pytest.raises(PacketError, match="request of"):
            read_ask(data)


@settings(deadline=None, max_examples=50)
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_one_changed_byte_is_found(place: int, flip: int) -> None:
    data = bytearray(packed(Carries.LIVE, 7, 9, messages=messages(3)))
    data[place % len(data)] ^= flip
    with pytest.raises(PacketError):
        read_packet(bytes(data))


@settings(deadline=None, max_examples=50)
@given(data=st.binary(min_size=16, max_size=16))
def test_any_request_is_one_or_a_named_fault(data: bytes) -> None:
    if data[0] != 1 or data[1] not in {1, 2}:
        with pytest.raises(PacketError, match="request of version"):
            read_ask(data)
        return
    ask, session, number, count = read_ask(data)
    assert (ask, count, session) == (data[1], int.from_bytes(data[2:4], "little"), int.from_bytes(data[4:8], "little"))
    assert number == int.from_bytes(data[8:], "little")


def test_what_happened_at_once_ends_with_a_mark() -> None:
    changes = Changes(5, 9, (Level(1, 1, 100, 3, 1),), (Trade(5, 2, 9, 1, 100, 4, 2),), (Phased(1, 2),))
    told = messages_of(changes)
    assert told["kind"].tolist() == [Message.PHASE, Message.TRADE, Message.LEVEL]
    assert told["last"].tolist() == [0, 0, 1]
    assert told["more"].tolist() == [0, 2, 1]
    assert len(messages_of(Changes(5, 9, (), (), ()))) == 0
