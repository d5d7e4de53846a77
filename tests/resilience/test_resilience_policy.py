import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone import world
from archstone.resilience import (
    Adaptive,
    Breaker,
    Bulkhead,
    BulkheadFullError,
    Circuit,
    CircuitOpenError,
    Coalesce,
    Compartment,
    Exponential,
    Fallback,
    Hedge,
    OutOfTimeError,
    Policy,
    RateLimit,
    RateLimitedError,
    Retry,
    SettingsError,
    SharedCircuit,
    SharedState,
    Shed,
    StoreLostError,
    Timeout,
)
from archstone.resilience.stores.memory import MemoryStore

QUICK = Exponential(0.001, cap_s=0.001)


class Bank:
    def __init__(self) -> None:
        self.calls = 0
        self.fails = 0
        self.takes_s = 0.0

    async def charge(self, cents: int) -> str:
        self.calls += 1
        await asyncio.sleep(self.takes_s)
        if self.fails:
            self.fails -= 1
            raise ConnectionError
        return f"charged {cents}"


def queue_for_later(cents: int) -> str:
    return f"later {cents}"


CALM = Policy(Timeout(2.0), Retry(3, backoff=QUICK), Breaker(5, open_s=60.0), Bulkhead(50), Fallback(queue_for_later))


async def test_the_layers_do_their_work_together() -> None:
    bank, calm = Bank(), Policy(*CALM.layers).bind("payments")
    charge = calm(bank.charge)
    assert await charge(7) == "charged 7"
    bank.fails = 2
    assert await charge(7) == "charged 7"
    assert bank.calls == 4
    bank.fails = 1000
    assert await charge(7) == "later 7"
    assert await charge(7) == "later 7"  # the circuit opens in the second attempt, which ends the attempts
    assert bank.calls == 4 + 5
    assert calm.part(Circuit).state == "open"
    assert await charge(7) == "later 7"
    assert bank.calls == 9


async def test_a_silent_other_side_opens_the_circuit_though_the_time_is_limited_outside() -> None:
    bank, calm = Bank(), Policy(*CALM.layers).bind("payments")
    bank.takes_s = 100.0
    charge = calm(bank.charge)
    for _ in range(5):
        before = world.monotonic()
        assert await charge(7) == "later 7"
        assert world.monotonic() - before == 2.0
    assert calm.part(Circuit).state == "open"
    assert calm.part(Compartment).statistics().in_flight == 0


def test_the_order_is_as_written_and_the_fallback_is_outermost() -> None:
    assert str(CALM) == "Fallback > Timeout > Retry > Breaker > Bulkhead > call"
    assert eval(repr(Policy(Timeout(2.0), Bulkhead(3)))) == Policy(Timeout(2.0), Bulkhead(3))
    assert len({Policy(Timeout(2.0)), Policy(Timeout(2.0)), Policy(Timeout(3.0))}) == 2


async def test_the_order_is_the_one_in_which_a_call_passes() -> None:
    seen = []

    class Note:
        def __init__(self, word: str) -> None:
            self.name = self.word = word

        def bind(self, name: str) -> "Note":
            return self

        def statistics(self) -> None: ...

        def __call__(self, function):
            async def noted(*args: object) -> object:
                seen.append(f"{self.word} in")
                try:
                    return await function(*args)
                finally:
                    seen.append(f"{self.word} out")

            return noted

    await Policy(Note("a"), Note("b"), Note("c"))(Bank().charge)(1)
    assert seen == ["a in", "b in", "c in", "c out", "b out", "a out"]


async def test_what_is_bound_under_one_name_is_one_thing() -> None:
    bank, policy = Bank(), Policy(Breaker(1))
    assert policy.bind("payments") is policy.bind("payments")
    bank.fails = 1
    with pytest.raises(ConnectionError):
        await policy.bind("payments")(bank.charge)(1)
    with pytest.raises(CircuitOpenError, match="'payments'"):
        await policy.bind("payments")(bank.charge)(1)
    assert await policy.bind("refunds")(bank.charge)(1) == "charged 1"
    assert await policy(bank.charge)(1) == "charged 1"
    assert await Policy(Breaker(1)).bind("payments")(bank.charge)(1) == "charged 1"


@pytest.mark.parametrize(
    ("layers", "fault"),
    [
        ((), "must have at least one"),
        ((Breaker(5), Retry(3)), "Breaker must come after Retry"),
        ((Fallback(len), Breaker(5)), "Fallback must be last"),
        ((Breaker(5), Breaker(6)), "Breaker must be there once"),
        ((Retry(3), Bulkhead(3), Retry(2)), "Retry must be there once"),
        ((Hedge(), Coalesce()), "Coalesce must come before Hedge"),
        ((Timeout(2.0), Timeout(1.0)), "once before and once after Retry or Hedge"),
        ((Timeout(2.0), Retry(3), Timeout(2.0)), r"Timeout\(2\) must be shorter than Timeout\(2\)"),
        ((Timeout(2.0), Retry(3, total_s=2.0)), r"Retry\(total_s=2\) must be shorter"),
        ((Timeout, Retry(3)), "must be a layer"),
        ((2.0,), "2.0 must be a layer"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(layers: tuple, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        Policy(*layers)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        Policy(Fallback(len), Breaker(5), Timeout(1.0), Retry(3), Timeout(1.0), Breaker(5))
    assert len(raised.value.faults) == 4


@pytest.mark.parametrize(
    "layers",
    [
        (Timeout(2.0), Retry(3, total_s=1.9), Timeout(0.5), Breaker(5), Bulkhead(5), Fallback(len)),
        (Shed(100), RateLimit(10), Coalesce(), Timeout(2.0), Hedge(), Timeout(0.5), Breaker(3), Adaptive()),
        (Fallback(len),),
        (Bulkhead(5), Retry(3)),
    ],
)
def test_orders_that_make_sense_are_taken(layers: tuple) -> None:
    assert Policy(*layers).layers == layers


async def test_a_block_stands_behind_guards() -> None:
    bound = Policy(Timeout(2.0), RateLimit(0.001, burst=4), Breaker(1, open_s=9.0), Bulkhead(1), Shed(5)).bind("block")
    async with bound.admit():
        with pytest.raises(BulkheadFullError):
            async with bound.admit():
                raise AssertionError
    assert bound.part(Circuit).state == "closed"  # which was refused here, not by the other side
    with pytest.raises(OutOfTimeError):
        async with bound.admit():
            await asyncio.sleep(100)
    assert bound.part(Circuit).state == "open"
    with pytest.raises(CircuitOpenError):
        async with bound.admit():
            raise AssertionError
    assert bound.part(Compartment).statistics().in_flight == 0
    async with Policy(Adaptive(), Shed(1)).bind("b").admit():
        pass
    with pytest.raises(RateLimitedError):
        async with bound.admit():  # the fifth
            raise AssertionError


async def test_a_block_cannot_be_called_again() -> None:
    with pytest.raises(SettingsError, match="Attempts must call a function"):
        Policy(Retry(3), Breaker(5)).bind("block").admit()


def test_plain_functions_stand_behind_layers_that_need_not_wait() -> None:
    again, otherwise = Retry(2, backoff=QUICK, on=(ValueError,)), Fallback(len, on=(ValueError,))

    @Policy(again, Breaker(3), RateLimit(1, burst=10), otherwise)
    def parse(text: str) -> int:
        return int(text)

    assert (parse("7"), parse("seven")) == (7, 5)
    with pytest.raises(SettingsError, match="must be a coroutine function"):
        Policy(Bulkhead(3))(len)
    with pytest.raises(SettingsError, match="must be a coroutine function"):
        Policy(Shed(3))(len)


async def test_statistics_are_those_of_the_layers() -> None:
    bound = CALM.bind("statistics")
    await bound(Bank().charge)(1)
    assert list(bound.statistics()) == ["Fallback", "Retry", "Breaker", "Bulkhead"]
    with pytest.raises(LookupError, match="'statistics' has no Throttle"):
        bound.part(type(Adaptive().bind("x")))


async def test_no_task_and_no_timer_of_its_own_on_the_direct_path(monkeypatch: pytest.MonkeyPatch) -> None:
    class Now(Bank):
        takes_s = 0.0

        async def charge(self, cents: int) -> str:
            return "now"

    charge, loop = CALM.bind("direct")(Now().charge), asyncio.get_running_loop()
    await charge(1)  # the shared timer of the wheel
    made = []
    for name in ("create_task", "call_at", "call_later", "call_soon", "create_future"):
        monkeypatch.setattr(loop, name, lambda *args, name=name, **kwargs: made.append(name))
    for _ in range(10):
        assert await charge(1) == "now"
    monkeypatch.undo()
    assert made == []


class Model:
    """A retry around a circuit around two seconds, as a loop."""

    def __init__(self, plan: list[str], attempts: int, failures: int) -> None:
        self.plan, self.attempts, self.failures = plan, attempts, failures
        self.made = self.row = 0
        self.open_until = -math.inf

    def call(self, now: float) -> str:
        for _ in range(self.attempts):
            if now < self.open_until - 1e-6:
                return "refused"  # and nobody has patience
            self.made += 1
            what = self.plan.pop(0) if self.plan else "works"
            now += 0.25 if what == "slow" else 0
            if what == "works":
                self.row, self.open_until = 0, -math.inf
                return "works"
            self.row += 1
            if self.open_until > -math.inf or self.row >= self.failures:
                self.row, self.open_until = 0, now + 1.0
        return "failed"


async def outcome(call) -> str:
    try:
        return await call()
    except CircuitOpenError:
        return "refused"
    except (ConnectionError, OutOfTimeError):
        return "failed"


@given(st.lists(st.sampled_from(["works", "fails", "slow"]), max_size=40), st.integers(1, 3), st.integers(1, 4))
async def test_attempts_and_circuit_together_are_as_a_model_says(plan: list[str], attempts: int, failures: int) -> None:
    left, made = list(plan), []

    async def side() -> str:
        what = left.pop(0) if left else "works"
        made.append(what)
        await asyncio.sleep(9 if what == "slow" else 0)
        if what == "fails":
            raise ConnectionError
        return what

    retry = Retry(attempts, backoff=Exponential(1e-9, cap_s=1e-9), patience_s=0.0)
    call = Policy(retry, Breaker(failures, open_s=1.0), Timeout(0.25)).bind("model")(side)
    model = Model(list(plan), attempts, failures)
    for _ in range(12):
        wanted = model.call(world.monotonic())
        assert (await outcome(call), len(made)) == (wanted, model.made)
        await asyncio.sleep(0.3)


async def test_circuit_and_limit_of_a_policy_can_be_in_a_store() -> None:
    async with SharedState("memory:") as shared:
        banks = [Bank() for _ in range(2)]
        policies = [Policy(Timeout(2.0), RateLimit(0.01, burst=4), Breaker(2, open_s=5.0), Bulkhead(9)) for _ in banks]
        bound = [policy.bind("payments", store=shared) for policy in policies]
        charges = [one(bank.charge) for one, bank in zip(bound, banks, strict=True)]
        for bank in banks:
            bank.fails = 1
        failed = [await asyncio.gather(charge(7), return_exceptions=True) for charge in charges]
        assert [type(error) for [error] in failed] == [ConnectionError] * 2
        for charge in charges:
            with pytest.raises(CircuitOpenError):
                await charge(7)
        assert [bank.calls for bank in banks] == [1, 1]  # the second failure of the two has opened it for both
        with pytest.raises(RateLimitedError):
            await charges[0](7)
        assert set(bound[0].statistics()) == {"Bulkhead"}
        assert (await bound[1].part(SharedCircuit).statistics()).state == "open"


async def test_the_end_of_an_outer_time_counts_in_a_shared_circuit() -> None:
    async with SharedState("memory:") as shared:
        bank, bound = Bank(), Policy(Timeout(2.0), Breaker(1)).bind("payments", store=shared)
        bank.takes_s = 3.0
        with pytest.raises(OutOfTimeError):
            await bound(bank.charge)(7)
        assert (await bound.part(SharedCircuit).statistics()).state == "open"


async def test_a_block_stands_behind_a_shared_circuit_and_limit() -> None:
    async with SharedState("memory:") as shared:
        bound = Policy(RateLimit(0.01, burst=1), Breaker(1)).bind("payments", store=shared)
        with pytest.raises(ConnectionError):
            async with bound.admit():
                raise ConnectionError
        with pytest.raises(RateLimitedError):
            async with bound.admit():
                pass


async def test_one_name_in_one_store_is_one_state_and_what_the_store_does_not_have_stays_here() -> None:
    async with SharedState("memory:") as shared:
        policy = Policy(Breaker(1), Bulkhead(1))
        assert policy.bind("a", store=shared) is policy.bind("a", store=shared)
        assert policy.bind("a", store=shared) is not policy.bind("a")
        assert policy.bind("a", store=shared) is not policy.bind("a", store=shared, without_store="refuse")
        assert isinstance(policy.bind("a").part(Circuit), Circuit)


@pytest.mark.parametrize("without_store", ["allow", "refuse", "local"])
async def test_without_its_store_a_policy_does_what_it_was_told(without_store: str) -> None:
    class Away(MemoryStore):
        async def begin(self, circuit, policy):
            raise StoreLostError("away", "it is not there")

    async with SharedState(Away()) as shared:
        charge = Policy(Breaker(1)).bind("payments", store=shared, without_store=without_store)(Bank().charge)
        if without_store == "refuse":
            with pytest.raises(CircuitOpenError, match="without its store"):
                await charge(7)
        else:
            assert await charge(7) == "charged 7"


def test_what_cannot_be_shared_is_told() -> None:
    shared = SharedState("memory:")
    with pytest.raises(SettingsError) as told:
        Policy(Timeout(2.0), Bulkhead(5)).bind("payments", store=shared)
    assert "'payments' has nothing to keep in a store: only Breaker and RateLimit can share" in str(told.value)
    for policy in (Policy(Breaker(1)), Policy(RateLimit(1))):
        with pytest.raises(SettingsError) as told:
            policy.bind("payments", store=shared)(queue_for_later)
        assert "'queue_for_later' must be a coroutine function: the store is asked before it" in str(told.value)
