"""All that the exchange reads from outside: what was changed is read, or refused by what is documented, and soon.

The sessions that speak some of these are fuzzed beside their own tests: `docs/exchange/fuzzing.md` lists all.
"""

import re
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import thread_time

import numpy as np
import pytest
from codecs_of_exchange import CODECS, Codec, changed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archstone.systems.exchange.reading import packed, unpacked

PAGE = Path(__file__).parents[3] / "docs" / "exchange" / "fuzzing.md"
MOST_BYTES, MOST_S = 16 << 20, 2.0
"""Memory and processor time that reading one of these samples may take: more than any does by far."""


@cache
def samples(name: str) -> list[bytes]:
    return [*CODECS[name].samples()]


@contextmanager
def bounded() -> Iterator[None]:
    tracemalloc.start()
    begun_s = thread_time()
    try:
        yield
        assert thread_time() - begun_s < MOST_S
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def look(codec: Codec, data: bytes) -> bool:
    """Read something; return whether it was taken."""
    with bounded():
        try:
            codec.read(data)
        except codec.raises as error:
            refused = str(error)
        else:
            return True
    assert refused
    return False


@pytest.mark.parametrize("name", CODECS)
def test_what_is_whole_is_read(name: str) -> None:
    for sample in samples(name):
        assert look(CODECS[name], sample)
        assert look(CODECS[name], CODECS[name].seal(sample))


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_what_is_changed_is_read_or_refused_by_name(name: str, data: st.DataObject) -> None:
    codec = CODECS[name]
    found = data.draw(changed(data.draw(st.sampled_from(samples(name)))))
    look(codec, codec.seal(found) if data.draw(st.booleans()) else found)


def test_a_reader_that_takes_a_length_for_true_is_found() -> None:
    with pytest.raises(AssertionError):
        look(Codec(list, lambda data: bytearray(int.from_bytes(data[:4], "little"))), b"\0\0\0\x04")


def test_the_page_lists_all_of_them() -> None:
    listed = set(re.findall(r"^\| ([^|]+?) +\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(CODECS) <= listed


@pytest.mark.parametrize("shape", [b"(9000,(, }", b"(9000,[, }"])
def test_an_array_whose_header_is_no_python_is_damaged(shape: bytes) -> None:
    whole = packed({"one": np.zeros(9_000, np.uint8)})  # more than is read, and checked, at once
    damaged = whole.replace(b"(9000,), }", shape, 1)
    assert damaged != whole
    with pytest.raises(ValueError, match="they are damaged"):
        unpacked(damaged, ["one"], what="reports")
