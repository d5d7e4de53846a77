"""Any bytes sent to the binary server, or to its client, end in messages, a named fault, or a closed connection."""

import asyncio

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_entry_binary import Raw, raw, serving

from archstone.systems.exchange.entry import REPORT, reports_of
from archstone.systems.exchange.entry.binary import Choice, EntryClient, Fault, Say
from archstone.systems.exchange.entry.binary.client import _Link
from archstone.systems.exchange.entry.binary.messages import LOGON, Logon, logon, read_logon
from archstone.systems.exchange.matching import COMMAND, Told

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
ANSWERS = {*Told} | {Say.REFUSED, Say.BYE, Say.HEARTBEAT, Say.WELCOME, Say.RESUMED}


@settings(deadline=None, max_examples=50)
@given(
    said=st.builds(Logon, U32, st.sampled_from(Choice), U32, U64, U32, U64),
    credential=st.binary(max_size=100),
)
def test_a_logon_comes_back(said: Logon, credential: bytes) -> None:
    data = logon(said, credential)
    assert read_logon(data[:64]) == (said, len(credential))
    assert data[64:] == credential


@settings(deadline=None, max_examples=50)
@given(data=st.binary(min_size=64, max_size=64))
def test_any_bytes_are_a_logon_or_a_named_fault(data: bytes) -> None:
    found, credential_bytes = read_logon(data)
    assert isinstance(found, Logon | Fault)
    assert 0 <= credential_bytes < 2**16
    if data[0] != Say.LOGON:
        assert found == Fault.MALFORMED


@given(data=st.binary(max_size=400))
@settings(deadline=None, max_examples=40)
async def test_any_first_bytes_are_answered_by_a_fault_or_waited_for(data: bytes) -> None:
    async with serving(logon_s=0.5) as stage:
        protocol = Raw()
        await stage.pipes.connect(lambda: protocol)
        protocol.transport.write(data)
        await asyncio.sleep(1)
        assert protocol.lost.is_set()
        assert len(protocol.data) % 64 == 0
        assert [each.kind for each in protocol.told] == [Say.BYE]


def records(dtype: np.dtype) -> st.SearchStrategy[np.ndarray]:
    return st.binary(min_size=64, max_size=64 * 6).map(lambda data: np.frombuffer(data[: len(data) // 64 * 64], dtype))


@given(found=records(COMMAND), kinds=st.lists(st.sampled_from([1, 2, 3, 4, 128, 129, 200]), min_size=6, max_size=6))
@settings(deadline=None, max_examples=40)
async def test_any_requests_are_done_refused_or_end_the_connection(found: np.ndarray, kinds: list[int]) -> None:
    """Numbers and kinds are made to fit, so that the rest is looked at."""
    async with serving() as stage:
        protocol = await raw(stage)
        rows = found.copy()
        rows["kind"] = kinds[: len(rows)]
        rows["sequence"] = np.arange(1, 1 + len(rows)) - np.cumsum(rows["kind"] == Say.HEARTBEAT)
        rows["book"] %= 3
        protocol.transport.write(rows.tobytes())
        await asyncio.sleep(0.1)
        told = protocol.told
        assert {each.kind for each in told} <= ANSWERS
        requests = [kind for kind in kinds[: len(rows)] if kind != Say.HEARTBEAT]
        if Say.LOGOUT in requests:
            requests = requests[: requests.index(Say.LOGOUT)]
            assert told[-1].reason == Fault.LEFT
        refused = {each.left for each in told if each.kind == Say.REFUSED}
        answered = {each.tag for each in told if each.kind < Say.HEARTBEAT}
        assert refused | answered == set(range(1, 1 + len(requests)))
        protocol.transport.close()


@given(data=st.binary(max_size=1_000), cut=st.integers(1, 64))
@settings(deadline=None, max_examples=40)
async def test_any_bytes_of_a_server_drop_the_connection_or_are_reports(data: bytes, cut: int) -> None:
    seen: list[object] = []

    async def never(_: object) -> object:
        raise OSError

    client = EntryClient("ann", never, on_report=seen.append)
    link = _Link(client._made, client._heard)
    for start in range(0, len(data), cut):
        link.data_received(data[start : start + cut])
    whole = reports_of(np.frombuffer(data, REPORT, len(data) // 64))
    assert link.lost.is_set() == any(each.number != place for place, each in enumerate(whole, 1))


def test_a_logon_has_64_bytes() -> None:
    assert LOGON.itemsize == 64
