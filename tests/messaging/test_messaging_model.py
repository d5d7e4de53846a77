"""Brokers against a model: of each key one message is out, the oldest; nothing is lost and nothing comes twice.

The SQLite broker runs with a window of a few messages, so that what stays in the table is read back all the time.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from archstone import simulation
from archstone.messaging import Broker, Channel, Delivery
from archstone.messaging.brokers.memory import MemoryBroker
from archstone.messaging.brokers.sqlite import DEATH_LIMIT, Sizes, SqliteBroker
from archstone.messaging.testing import envelope

CHANNEL = Channel("t", "g")
LEASE_S = 10.0
KEYS = st.sampled_from(["a", "b", "c", None])
PICK = st.integers(min_value=0, max_value=1000)


class Machine(RuleBasedStateMachine):
    """Drives a broker; `kept` is the model: number to key, in the order sent, of what is not settled."""

    def make(self) -> Broker:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.stage = simulation.Stage(seed=0, limit_s=None)
        self.stage.__enter__()
        self.broker = self.make()
        self.kept: dict[int, str | None] = {}
        self.out: dict[int, Delivery] = {}
        self.stale: list[Delivery] = []
        self.tokens: set[int] = set()
        self.next = 0
        self.stage.run(self.broker.open())
        self.stage.run(self.broker.declare(CHANNEL, names=None))

    def take(self, limit: int) -> Sequence[Delivery]:
        leased = self.stage.run(self.broker.lease(CHANNEL, limit=limit, lease_s=LEASE_S))
        assert len(leased) <= limit
        for delivery in leased:
            number = int(delivery.envelope.payload)
            key = self.kept[number]  # fails for what was settled
            assert number not in self.out
            assert delivery.token not in self.tokens
            self.tokens.add(delivery.token)
            if key is not None:
                assert number == min(n for n, k in self.kept.items() if k == key), "an older one of its key waits"
                assert all(self.kept[n] != key for n in self.out), "two of a key are out"
            self.out[number] = delivery
        return leased

    def pick(self, index: int) -> tuple[int, Delivery]:
        number = sorted(self.out)[index % len(self.out)]
        return number, self.out.pop(number)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=8))
    def send(self, keys: list[str | None]) -> None:
        messages = []
        for key in keys:
            messages.append(envelope("t", self.next, key=key))
            self.kept[self.next] = key
            self.next += 1
        self.stage.run(self.broker.send(messages))

    @rule(limit=st.integers(min_value=1, max_value=5))
    def lease(self, limit: int) -> None:
        self.take(limit)

    @precondition(lambda self: self.out)
    @rule(index=PICK)
    def settle(self, index: int) -> None:
        number, delivery = self.pick(index)
        assert list(self.stage.run(self.broker.settle(CHANNEL, [delivery]))) == []
        del self.kept[number]
        self.stale.append(delivery)

    @precondition(lambda self: self.out)
    @rule(index=PICK, delay_s=st.sampled_from([0.0, 1.0, 20.0]))
    def retry(self, index: int, delay_s: float) -> None:
        _, delivery = self.pick(index)
        assert self.stage.run(self.broker.retry(CHANNEL, delivery, delay_s=delay_s))
        self.stale.append(delivery)

    @precondition(lambda self: self.out)
    @rule(index=PICK)
    def release(self, index: int) -> None:
        _, delivery = self.pick(index)
        self.stage.run(self.broker.release(CHANNEL, [delivery]))
        self.stale.append(delivery)

    @precondition(lambda self: self.out)
    @rule(index=PICK)
    def bury_and_replay(self, index: int) -> None:
        number, delivery = self.pick(index)
        assert self.stage.run(self.broker.bury(CHANNEL, delivery, error="x"))
        key = self.kept.pop(number)
        (letter,) = self.stage.run(self.broker.dead(group="g", limit=10))
        # Replayed it is behind everything else of its key: the model sees a new number.
        replayed = letter.envelope._replace(payload=str(self.next).encode())
        assert letter.envelope.payload == str(number).encode()
        assert self.stage.run(self.broker.sweep(dead_retention_s=1e9, dead_limit=0)) == 1
        self.kept[self.next] = key
        self.next += 1
        self.stage.run(self.broker.send([replayed]))
        self.stale.append(delivery)

    @precondition(lambda self: self.stale)
    @rule(index=PICK)
    def use_a_stale_token(self, index: int) -> None:
        delivery = self.stale[index % len(self.stale)]
        assert list(self.stage.run(self.broker.settle(CHANNEL, [delivery]))) == [delivery]
        assert not self.stage.run(self.broker.retry(CHANNEL, delivery, delay_s=0.0))

    @rule()
    def extend(self) -> None:
        held = list(self.out.values())
        assert list(self.stage.run(self.broker.extend(CHANNEL, held, lease_s=LEASE_S))) == []

    @rule()
    def let_leases_run_out(self) -> None:
        self.pass_time(LEASE_S + 1.0)
        self.stale += self.out.values()
        self.out.clear()

    def pass_time(self, seconds: float) -> None:
        self.stage.run(asyncio.sleep(seconds))
        # Only a lease makes a broker look at the clock; the stale tokens are refused from then on.
        for delivery in self.take_after_expiry():
            self.out.pop(int(delivery.envelope.payload), None)
            self.stage.run(self.broker.release(CHANNEL, [delivery]))
            self.stale.append(delivery)

    def take_after_expiry(self) -> Sequence[Delivery]:
        self.stale += self.out.values()
        self.out.clear()
        return self.take(1)

    @invariant()
    def the_depth_is_right(self) -> None:
        (backlog,) = self.stage.run(self.broker.backlogs())
        assert backlog.depth == len(self.kept)

    def teardown(self) -> None:
        self.stale += self.out.values()
        self.out.clear()
        self.pass_time(30.0)
        while leased := self.take(3):
            self.stage.run(self.broker.settle(CHANNEL, leased))
            for delivery in leased:
                number = int(delivery.envelope.payload)
                del self.kept[number], self.out[number]
        assert self.kept == {}, "these never came"
        self.stage.run(self.broker.close())
        self.stage.__exit__(None, None, None)


class MemoryMachine(Machine):
    def make(self) -> Broker:
        return MemoryBroker()


class SqliteMachine(Machine):
    def make(self) -> Broker:
        self.folder = Path(tempfile.mkdtemp())
        self.reopened = 0
        return SqliteBroker(f"sqlite:///{self.folder}/bus.db", sizes=Sizes(window=6, per_key=2, chunk=3))

    # What was out when the file was closed has outlived a process: one time more, and the broker buries it.
    @precondition(lambda self: self.reopened < DEATH_LIMIT)
    @rule()
    def reopen(self) -> None:
        self.reopened += 1
        self.stage.run(self.broker.close())
        self.stage.run(self.broker.open())
        self.stale += self.out.values()
        self.out.clear()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            shutil.rmtree(self.folder)


QUICK = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
TestMemory = MemoryMachine.TestCase
TestMemory.settings = QUICK
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = QUICK
