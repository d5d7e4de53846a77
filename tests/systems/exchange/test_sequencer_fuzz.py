"""Nodes and witness are told anything: whoever says what cannot be meant is cut off, and the others are served."""

import asyncio
import json
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from links import Cables, MemoryNetwork
from tally import Tally, orders

from archstone.systems.exchange.sequencer import Node, Place, RemoteSequencer, Witness
from archstone.systems.exchange.sequencer.network import Link, Message, Say, Serve

U64 = st.sampled_from([0, 1, 2, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
WORDS = st.one_of(
    st.none(), st.booleans(), U64, st.integers(-9, 9), st.floats(), st.text(max_size=5), st.sampled_from(["a/1", "b/2"])
)
ANY = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["what", "node", "other", "epochs"]), inner, max_size=4)
    ),
    max_leaves=12,
)
SAID = st.fixed_dictionaries(
    {"what": st.integers(0, 5), "node": WORDS, "other": WORDS, "epochs": st.lists(st.tuples(U64, U64), max_size=3)}
)
BODIES = st.one_of(
    st.binary(max_size=70),
    st.one_of(ANY, SAID).map(lambda said: json.dumps(said).encode()),
    st.binary(min_size=64, max_size=192).map(lambda data: data[: len(data) // 64 * 64]),
    st.just(b"[" * 2_000),
)
MESSAGES = st.builds(Message, st.sampled_from(Say), U64, U64, U64, BODIES)


class Tolerant(MemoryNetwork):
    """As over TCP, whatever goes wrong with one connection ends that one alone; what it was is noted."""

    def __init__(self, cables: Cables, name: str, wrong: list[Exception]) -> None:
        super().__init__(cables, name)
        self.wrong = wrong

    async def listen(self, address: str, serve: Serve) -> object:
        async def served(link: Link) -> None:
            try:
                await serve(link)
            except (ConnectionError, TimeoutError):
                raise
            except Exception as error:
                self.wrong.append(error)

        return await super().listen(address, served)


@given(said=st.lists(st.tuples(st.sampled_from(["a", "w"]), st.lists(MESSAGES, min_size=1, max_size=3)), max_size=8))
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
async def test_whatever_is_said_the_others_are_served(said: list[tuple[str, list[Message]]]) -> None:
    cables, wrong = Cables(Random(1)), list[Exception]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = Place(name="a", listen="a", peer="b", witness="w")
        async with (
            Witness(folder / "w", network=Tolerant(cables, "w", wrong), listen="w"),
            Node(place, folder / "a", Tally, network=Tolerant(cables, "a", wrong), eager=True) as node,
            RemoteSequencer(MemoryNetwork(cables, "client"), ("a",), patience_s=30, holder="client") as remote,
        ):
            await remote.hold()  # as an exchange does, or a stranger could
            first = await remote.submit(orders(1))
            for address, told in said:
                link = await MemoryNetwork(cables, "stranger").connect(address)
                for message in told:
                    link.send(message)
                with suppress(ConnectionError, TimeoutError):
                    async with asyncio.timeout(0.1):
                        while True:
                            await link.receive()
                link.close()
            again = await remote.submit(orders(10**9))
            assert again.first > first.last
            assert node.leading is not None
    assert not [each for each in wrong if isinstance(each, AssertionError | MemoryError)]
