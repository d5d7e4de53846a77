import asyncio
import inspect
import math
import pickle
import threading
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from archstone import world
from archstone.errors import ConflictError, DomainError, NotFoundError
from archstone.observability import default_registry
from archstone.resilience import (
    Breaker,
    BulkheadFullError,
    Circuit,
    CircuitOpenError,
    Ratio,
    SettingsError,
    Signal,
    add_listener,
    remove_listener,
    within,
)


class Clock(world.World):
    """A world whose time is set by hand."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


async def works() -> int:
    return 42


async def fails() -> int:
    raise ConnectionError("down")


async def fail(circuit: Circuit, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionError):
            await circuit(fails)()


async def test_so_many_failures_in_a_row_open_it_and_then_nothing_is_called() -> None:
    circuit = Breaker(3, open_s=30.0).bind("payments")
    await fail(circuit, 2)
    assert await circuit(works)() == 42  # which ends the row
    await fail(circuit, 2)
    assert circuit.state == "closed"
    await fail(circuit)
    assert circuit.state == "open"
    with pytest.raises(CircuitOpenError) as raised:
        await circuit(works)()
    error = raised.value
    assert str(error) == (
        "circuit 'payments' is open: the call was not made; wait for the other side to recover, next trial in 30.0 s"
    )
    assert (error.circuit, error.reason, error.retry_after_s, error.status) == ("payments", "open", 30.0, 503)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(("wait_s", "made"), [(29.999, False), (30.0, True)])
async def test_after_open_s_one_trial_is_made(wait_s: float, made: bool) -> None:
    circuit = Breaker(1, open_s=30.0).bind("payments")
    await fail(circuit)
    await asyncio.sleep(wait_s)
    if made:
        assert await circuit(works)() == 42
        assert circuit.state == "closed"
    else:
        with pytest.raises(CircuitOpenError):
            await circuit(works)()


async def test_a_trial_that_fails_opens_it_again_for_as_long() -> None:
    circuit = Breaker(5, open_s=10.0).bind("payments")
    await fail(circuit, 5)
    await asyncio.sleep(10)
    await fail(circuit)  # one is enough now
    assert circuit.statistics().retry_after_s == 10.0
    assert circuit.statistics().opened == 2


async def test_a_half_open_circuit_admits_its_trials_and_nobody_else() -> None:
    circuit = Breaker(1, open_s=1.0, trials=3).bind("payments")
    await fail(circuit)
    await asyncio.sleep(1)
    go = asyncio.Event()

    @circuit
    async def trial() -> str:
        await go.wait()
        return "worked"

    async def caller() -> str:
        try:
            return await trial()
        except CircuitOpenError as error:
            return error.reason

    callers = [asyncio.create_task(caller()) for _ in range(100)]
    await asyncio.sleep(0)
    go.set()
    answers = await asyncio.gather(*callers)
    assert sorted(answers) == ["half open"] * 97 + ["worked"] * 3
    assert circuit.state == "closed"


async def test_a_cancelled_trial_gives_its_place_back_and_counts_as_neither() -> None:
    circuit = Breaker(1, open_s=10.0).bind("payments")
    await fail(circuit)
    await asyncio.sleep(10)
    hanging = asyncio.create_task(circuit(partial(asyncio.sleep, 100))())
    await asyncio.sleep(0)
    with pytest.raises(CircuitOpenError, match="half open"):
        await circuit(works)()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert circuit.state == "half open"
    assert await circuit(works)() == 42
    assert circuit.state == "closed"


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_whatever_ends_a_trial_its_place_comes_back(end: type[BaseException]) -> None:
    circuit = Breaker(1, open_s=10.0).bind("payments")
    await fail(circuit)
    await asyncio.sleep(10)
    with pytest.raises(end), circuit.admit():
        raise end
    assert await circuit(works)() == 42


async def test_trials_that_never_end_give_way_after_open_s() -> None:
    circuit = Breaker(1, open_s=10.0, trials=2).bind("payments")
    await fail(circuit)
    await asyncio.sleep(10)
    hanging = [asyncio.create_task(circuit(partial(asyncio.sleep, 1000))()) for _ in range(2)]
    await asyncio.sleep(9.999)
    with pytest.raises(CircuitOpenError, match="half open"):
        await circuit(works)()
    await asyncio.sleep(0.001)
    assert [await circuit(works)() for _ in range(2)] == [42, 42]
    assert circuit.state == "closed"
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert circuit.state == "closed"


async def test_a_result_that_comes_late_says_nothing_of_the_new_state() -> None:
    circuit = Breaker(1, open_s=10.0).bind("payments")
    slow_work = asyncio.create_task(circuit(partial(asyncio.sleep, 5, "late"))())
    await asyncio.sleep(1)
    await fail(circuit)
    assert await slow_work == "late"
    assert circuit.state == "open"  # an old success does not close it

    circuit.close()

    @circuit
    async def slow_failure() -> None:
        await asyncio.sleep(5)
        raise ConnectionError

    late = asyncio.create_task(slow_failure())
    await asyncio.sleep(0)
    circuit.open(for_s=1)
    await asyncio.sleep(1)
    await circuit(works)()
    with pytest.raises(ConnectionError):
        await late
    assert circuit.state == "closed"  # an old failure does not open it


async def test_the_end_of_a_deadline_around_the_call_is_a_failure() -> None:
    circuit = Breaker(1).bind("payments")
    with pytest.raises(TimeoutError):
        async with within(2.0):
            await circuit(partial(asyncio.sleep, 100))()
    assert circuit.state == "open"


@pytest.mark.parametrize("error", [DomainError(), NotFoundError(), ConflictError()])
async def test_errors_that_are_answers_are_no_failures(error: Exception) -> None:
    circuit = Breaker(2).bind("payments")
    await fail(circuit)
    with pytest.raises(type(error)), circuit.admit():
        raise error
    assert circuit.statistics().failures == 0
    await fail(circuit)
    assert circuit.state == "closed"


async def test_which_errors_count_is_for_the_policy_to_say() -> None:
    circuit = Breaker(1, on=(OSError,), answers=(FileNotFoundError,)).bind("disk")
    for harmless in (ValueError(), FileNotFoundError(), BulkheadFullError("b", 1, 0, 0.0, 1.0)):
        with pytest.raises(type(harmless)), circuit.admit():
            raise harmless
    assert circuit.state == "closed"
    await fail(circuit)
    assert circuit.state == "open"


async def test_a_refusal_in_this_process_counts_as_neither() -> None:
    circuit = Breaker(2).bind("payments")
    await fail(circuit)
    with pytest.raises(BulkheadFullError), circuit.admit():
        raise BulkheadFullError("b", 1, 0, 0.0, 1.0)
    assert circuit.statistics().failures == 1


@pytest.mark.parametrize(("took_s", "state"), [(1.999, "closed"), (2.0, "open")])
async def test_a_slow_call_counts_as_failed_and_its_answer_is_kept(took_s: float, state: str) -> None:
    circuit = Breaker(1, slow_s=2.0).bind("payments")
    assert await circuit(partial(asyncio.sleep, took_s, "answer"))() == "answer"
    assert circuit.state == state


async def test_a_ratio_over_calls_opens_it_when_the_window_holds_enough() -> None:
    circuit = Breaker(Ratio(0.5, over_calls=4, min_calls=4)).bind("payments")
    await fail(circuit, 2)
    await circuit(works)()
    assert circuit.state == "closed"  # 2 of 3, but three are too few
    await circuit(works)()
    assert circuit.state == "closed"  # only a failure opens it
    await fail(circuit)  # the oldest failure leaves the window
    assert circuit.state == "open"
    assert circuit.statistics().calls == 0


async def test_a_ratio_over_seconds_forgets_what_is_older() -> None:
    circuit = Breaker(Ratio(0.5, over_s=10.0, min_calls=3)).bind("payments")
    await fail(circuit, 2)
    await asyncio.sleep(9.9)
    assert circuit.statistics().calls == 2
    await asyncio.sleep(0.1)
    assert circuit.statistics().calls == 0
    await fail(circuit)
    assert circuit.state == "closed"
    await fail(circuit, 2)
    assert circuit.state == "open"


async def test_it_can_be_opened_and_closed_by_hand() -> None:
    circuit = Breaker().bind("payments")
    circuit.open()
    await asyncio.sleep(3000)
    with pytest.raises(CircuitOpenError, match="opened by hand"):
        await circuit(works)()
    assert circuit.statistics().retry_after_s == math.inf
    circuit.close()
    assert await circuit(works)() == 42
    circuit.open(for_s=5.0)
    await asyncio.sleep(5.0)
    assert await circuit(works)() == 42
    for wrong in (0, -1, math.nan):
        with pytest.raises(SettingsError, match="for_s"):
            circuit.open(for_s=wrong)


def test_plain_functions_and_blocks_are_guarded_too() -> None:
    circuit = Breaker(2).bind("plain")

    @circuit
    def divide(top: int, bottom: int = 1) -> float:
        """Divide."""
        return top / bottom

    assert divide(6, bottom=3) == 2
    assert (divide.__name__, divide.__doc__) == ("divide", "Divide.")
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)
    with pytest.raises(ZeroDivisionError), circuit.admit():
        divide.__wrapped__(1, 0)
    with pytest.raises(CircuitOpenError):
        divide(1)
    with pytest.raises(CircuitOpenError), circuit.admit():
        raise AssertionError


async def test_an_async_block_is_a_call() -> None:
    circuit = Breaker(1, slow_s=1.0).bind("block")
    async with circuit.admit():
        await asyncio.sleep(1.0)
    with pytest.raises(CircuitOpenError):
        async with circuit.admit():
            raise AssertionError


async def test_a_coroutine_function_stays_one_and_its_failures_count() -> None:
    """pybreaker 1.4.1 put around `async def` never counts a failure: it sees the coroutine, which never raises."""
    guarded = Breaker(2, slow_s=9.0)(fails)
    assert inspect.iscoroutinefunction(guarded)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await guarded()
    with pytest.raises(CircuitOpenError, match="'fails' is open"):
        await guarded()


def test_a_generator_cannot_be_guarded() -> None:
    async def stream():
        yield 1

    with pytest.raises(SettingsError, match="must not be a generator"):
        Breaker()(stream)


def test_settings_out_of_bounds_are_told_all_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        Breaker(0, open_s=0, trials=0, slow_s=0.0, on=(BaseException,), answers=ValueError)  # type: ignore[arg-type]
    assert [fault.split("=")[0] for fault in raised.value.faults] == [
        "failures", "open_s", "trials", "slow_s", "on", "answers",
    ]  # fmt: skip
    Breaker(1, open_s=1e-9, trials=1, slow_s=1e-9)
    with pytest.raises(SettingsError, match=r"Breaker: open_s=nan must be above 0 and finite"):
        Breaker(open_s=math.nan)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, "over_calls=None must be at least 1, or over_s be given"),
        ({"over_calls": 100, "over_s": 10.0}, "not both"),
        ({"over_calls": 0}, "over_calls=0"),
        ({"over_s": 0.0}, "over_s=0.0"),
        ({"over_s": math.nan}, "over_s=nan"),
        ({"over_s": math.inf}, "over_s=inf"),
        ({"limit": 0.0, "over_s": 1.0}, "limit=0.0"),
        ({"limit": 1.001, "over_s": 1.0}, "limit=1.001"),
        ({"over_calls": 10}, "min_calls=20 must be at least 1 and at most over_calls"),
        ({"over_s": 10.0, "min_calls": 0}, "min_calls=0"),
    ],
)
def test_a_ratio_out_of_bounds_is_refused(settings: dict, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        Ratio(**settings)
    Ratio(1.0, over_calls=20)


async def test_moves_and_refusals_are_told_and_counted() -> None:
    told: list[Signal] = []
    add_listener(told.append)

    def broken(signal: Signal) -> None:
        raise RuntimeError

    add_listener(broken)  # which the calls do not notice
    try:
        circuit = Breaker(1, open_s=10.0).bind("told")
        await fail(circuit)
        with pytest.raises(CircuitOpenError):
            await circuit(works)()
        await asyncio.sleep(10)
        await circuit(works)()
    finally:
        remove_listener(told.append)
        remove_listener(broken)
    assert [signal.kind for signal in told] == ["opened", "rejected", "half-opened", "closed"]
    assert {(signal.layer, signal.name) for signal in told} == {("breaker", "told")}
    assert isinstance(told[0].error, ConnectionError)
    assert (told[0].wait_s, told[1].wait_s) == (10.0, 10.0)
    for name, value in (("opened", 1), ("rejected", 1)):
        assert default_registry.counter(f"archstone_breaker_{name}", "", ("breaker",)).labels("told").value == value
    statistics = circuit.statistics()
    assert (statistics.state, statistics.opened, statistics.rejected) == ("closed", 1, 1)


def test_threads_share_a_circuit() -> None:
    circuit = Breaker(Ratio(1.0, over_calls=4000, min_calls=4000)).bind("threads")

    def work() -> None:
        for _ in range(500):
            with pytest.raises(ConnectionError), circuit.admit():
                raise ConnectionError

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert circuit.statistics().opened == 1


class CircuitModel:
    """What a circuit should do, from the whole history."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker, self.state, self.epoch, self.since = breaker, "closed", 0, 0.0
        self.ended: list[tuple[float, bool]] = []
        self.out = self.good = 0
        self.by_hand = False

    def move(self, state: str, now: float, by_hand: bool = False) -> None:
        self.state, self.since, self.by_hand, self.ended, self.out, self.good = state, now, by_hand, [], 0, 0
        self.epoch += 1

    def admit(self, now: float) -> bool:
        waited = now >= self.since + self.breaker.open_s and not self.by_hand
        if waited and (
            self.state == "open" or (self.state == "half open" and self.out + self.good >= self.breaker.trials)
        ):
            self.move("half open", now)
        if self.state == "half open" and self.out + self.good < self.breaker.trials:
            self.out += 1
            return True
        return self.state == "closed"

    def end(self, epoch: int, failed: bool | None, now: float) -> None:
        if epoch != self.epoch or self.state == "open":
            return
        if self.state == "half open":
            self.out -= 1
            self.good += failed is False
            if failed or self.good == self.breaker.trials:
                self.move("open" if failed else "closed", now)
        elif failed is not None:
            self.ended.append((now, failed))
            if failed and self.too_many(now):
                self.move("open", now)

    def too_many(self, now: float) -> bool:
        limit = self.breaker.failures
        if isinstance(limit, int):
            return len(self.ended) >= limit and all(failed for _, failed in self.ended[-limit:])
        if limit.over_calls:
            window = self.ended[-limit.over_calls :]
        else:
            part = limit.over_s / 10
            window = [one for one in self.ended if one[0] // part > now // part - 10]
        return len(window) >= limit.min_calls and sum(failed for _, failed in window) >= limit.limit * len(window)


class AgainstTheModel(RuleBasedStateMachine):
    breaker = Breaker(3, open_s=4.0, trials=2)

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.circuit, self.model = self.breaker.bind("model"), CircuitModel(self.breaker)
        self.under_way: list[tuple[int, int]] = []

    @rule()
    def begin(self) -> None:
        with world.use(self.clock):
            wanted = self.model.admit(self.clock.now_s)
            try:
                epoch = self.circuit.begin()
            except CircuitOpenError:
                assert not wanted
                return
        assert wanted
        self.under_way.append((epoch, self.model.epoch))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), failed=st.sampled_from([True, True, False, None]))
    def end(self, data: st.DataObject, failed: bool | None) -> None:
        ours, models = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        error = {True: ConnectionError(), False: None, None: asyncio.CancelledError()}[failed]
        with world.use(self.clock):
            self.circuit.end(ours, error, 0.0)
        self.model.end(models, failed, self.clock.now_s)

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.75, 4.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule(opened=st.booleans())
    def by_hand(self, opened: bool) -> None:
        with world.use(self.clock):
            self.circuit.open() if opened else self.circuit.close()
        self.model.move("open" if opened else "closed", self.clock.now_s, by_hand=opened)

    @invariant()
    def same_state(self) -> None:
        assert self.circuit.state == self.model.state


class RatioOfCalls(AgainstTheModel):
    breaker = Breaker(Ratio(0.5, over_calls=4, min_calls=3), open_s=4.0)


class RatioOfSeconds(AgainstTheModel):
    breaker = Breaker(Ratio(0.5, over_s=10.0, min_calls=3), open_s=4.0, trials=2)


TestAgainstTheModel = AgainstTheModel.TestCase
TestRatioOfCalls = RatioOfCalls.TestCase
TestRatioOfSeconds = RatioOfSeconds.TestCase
