"""FIX as bytes: any end in messages, an error that names the fault, or a closed connection; round trips."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_entry_fix import serving

from archstone.systems.exchange.entry.fix.codec import FieldError, Framer, FramingError, Message, encoded, instant

pytest.importorskip("simplefix")

VALUES = st.text(st.characters(exclude_characters="\x01", exclude_categories=["Cs"]), min_size=1, max_size=20)
TAGS = st.integers(1, 6_000).filter(lambda tag: tag not in {8, 9, 10, 35})
RAW = {89, 90, 91, 93, 95, 96, 212, 213, *range(348, 366)}
"""Fields that carry bytes, or their number."""


@settings(deadline=None, max_examples=50)
@given(fields=st.dictionaries(TAGS.filter(lambda tag: tag not in RAW and tag < 400), VALUES), cut=st.integers(1, 50))
def test_a_message_comes_back(fields: dict[int, str], cut: int) -> None:
    data = encoded("D", fields.items()) * 2
    framer = Framer()
    found = [each for start in range(0, len(data), cut) for each in framer.feed(data[start : start + cut])]
    assert [type(each) for each in found] == [Message, Message]
    assert {tag: found[0].fields[tag] for tag in fields} == fields
    assert found[0].fields == found[1].fields


def framed(body: bytes) -> bytes:
    data = b"8=FIX.4.4\x019=%d\x01" % len(body) + body
    return data + b"10=%03d\x01" % (sum(data) % 256)


@settings(deadline=None)
@given(body=st.binary(max_size=300) | st.binary(max_size=60).map(lambda data: b"35=D\x01" + data + b"\x01"))
def test_any_fields_are_a_message_or_a_named_fault(body: bytes) -> None:
    found = [*Framer().feed(framed(body))]
    assert len(found) == 1
    assert isinstance(found[0], Message) or (isinstance(found[0], FieldError) and str(found[0]))


@given(
    data=st.binary(max_size=300),
    head=st.sampled_from([b"", b"8=FIX.4.4\x01", b"8=FIX.4.4\x019=", b"8=FIX.4.4\x019=12\x01"]),
)
def test_any_bytes_are_waited_for_or_refused_by_name(data: bytes, head: bytes) -> None:
    framer = Framer()
    with contextlib.suppress(FramingError):
        assert all(isinstance(each, Message | FieldError) for each in framer.feed(head + data))
        assert len(framer._rest) < 8_192


def test_a_message_that_is_too_long_is_refused() -> None:
    with pytest.raises(FramingError, match="a message of 9024 bytes: at most 8192 are taken"):
        [*Framer().feed(b"8=FIX.4.4\x019=9000\x0135=D\x01")]


@given(
    kind=st.sampled_from([*"0123459ADFGHVq8"]),
    fields=st.lists(
        st.tuples(
            st.sampled_from([7, 11, 16, 18, 34, 36, 37, 38, 40, 41, 44, 54, 55, 56, 59, 99, 111, 112, 123, 141, 530]),
            st.sampled_from(["1", "2", "0", "-1", "ARC", "Y", "1e9", "10", "0.05", "99999999999999999999", "\u0663"])
            | VALUES,
        ),
        max_size=12,
        unique_by=lambda pair: pair[0],
    ),
)
@settings(deadline=None, max_examples=60)
async def test_any_message_is_answered_or_ends_the_session(kind: str, fields: list[tuple[int, str]]) -> None:
    async with serving() as stage:
        ann = await stage.client()
        ann.told.clear()
        given = [pair for pair in fields if pair[0] not in {34, 56}]
        ann.say(kind, *given)
        await asyncio.sleep(0.1)
        if not ann.lost.is_set():
            ann.say("1", (112, "still there"), number=99)
            ann.say("1", (112, "still there"))
            await asyncio.sleep(0.1)
        assert ann.told or kind in "03489"
        assert not [each for each in ann.told if each.kind == "5" and "not known" in (each.get(58) or "")]
        ann.transport.close()


def test_an_instant() -> None:
    assert instant(1_700_000_000_123_456) == "20231114-22:13:20.123"
