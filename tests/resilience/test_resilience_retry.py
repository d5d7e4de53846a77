import asyncio
import functools
import gc
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone import context, world
from archstone.context import Call
from archstone.errors import BackendError, ConflictError, DomainError, RejectedError
from archstone.observability import default_registry
from archstone.resilience import BlockingRetryError, Exponential, OutOfTimeError, RateLimitedError, Retry, SettingsError

QUICK = Exponential(0.1, cap_s=1.0)


class Flaky:
    """Raises the given errors one after another, then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self, answer: int = 42) -> int:
        return self.plain(answer)

    def plain(self, answer: int = 42) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return answer


async def test_a_call_that_works_is_made_once() -> None:
    flaky = Flaky()
    assert await Retry(3).call(flaky, 7) == 7
    assert flaky.calls == 1
    assert world.monotonic() == 0


async def test_a_call_that_fails_is_tried_again_until_it_works() -> None:
    flaky = Flaky(ConnectionError(), BackendError())
    assert await Retry(3).call(flaky) == 42
    assert flaky.calls == 3


async def test_the_last_error_comes_out_when_attempts_are_used_up() -> None:
    errors = [ConnectionError(1), ConnectionError(2), ConnectionError(3), ConnectionError(4)]
    flaky = Flaky(*errors)
    with pytest.raises(ConnectionError) as raised:
        await Retry(3).call(flaky)
    assert raised.value is errors[2]
    assert flaky.calls == 3


async def test_one_attempt_is_no_retry() -> None:
    flaky = Flaky(ConnectionError())
    with pytest.raises(ConnectionError):
        await Retry(1).call(flaky)
    assert flaky.calls == 1


@pytest.mark.parametrize("error", [ValueError(), ConflictError(), DomainError(), SystemExit()])
async def test_other_errors_are_not_tried_again(error: BaseException) -> None:
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        await Retry(3).call(flaky)
    assert flaky.calls == 1


async def test_a_time_out_is_tried_again() -> None:
    flaky = Flaky(OutOfTimeError("charge", 1.0), TimeoutError())
    assert await Retry(3).call(flaky) == 42


async def test_cancellation_is_neither_tried_again_nor_counted() -> None:
    @Retry(3, backoff=QUICK)
    async def cancelled() -> None:
        await asyncio.sleep(100)

    async def refused() -> None:
        raise RateLimitedError("api", "ann", 30.0, 1.0)

    for work in (cancelled(), Retry(3).call(refused)):  # during an attempt; during a wait
        task = asyncio.create_task(work)
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    given_up = default_registry.counter("archstone_retries_given_up", "", ("function",))
    assert "test_cancellation" not in str(given_up.children())


async def test_waits_have_full_jitter_below_a_growing_cap() -> None:
    retry = Retry(5, backoff=Exponential(0.1, factor=2, cap_s=0.5))
    for attempt, longest in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5), (5, 0.5), (5000, 0.5)):
        delays = [retry.delay_s(attempt) for _ in range(300)]
        assert 0 <= min(delays) < longest * 0.1
        assert longest * 0.9 < max(delays) <= longest


async def test_waits_add_up_in_virtual_time() -> None:
    flaky = Flaky(*[ConnectionError()] * 4)
    await Retry(5, backoff=Exponential(1.0, factor=2.0, cap_s=4.0)).call(flaky)
    assert 0 < world.monotonic() <= 1 + 2 + 4 + 4


async def test_retry_after_is_waited_for_and_jitter_comes_on_top() -> None:
    flaky = Flaky(RateLimitedError("api", "ann", 5.0, 1.0))
    await Retry(3, backoff=QUICK).call(flaky)
    assert 5.0 <= world.monotonic() <= 5.1


@pytest.mark.parametrize(("retry_after_s", "calls"), [(60.0, 2), (60.001, 1), (float("nan"), 1)])
async def test_a_retry_after_beyond_patience_is_not_waited_for(retry_after_s: float, calls: int) -> None:
    flaky = Flaky(RateLimitedError("api", "ann", retry_after_s, 1.0))
    if calls == 1:
        with pytest.raises(RejectedError):
            await Retry(3).call(flaky)
        assert world.monotonic() == 0
    else:
        await Retry(3).call(flaky)
    assert flaky.calls == calls


async def test_no_attempt_begins_after_the_deadline_of_the_call() -> None:
    flaky = Flaky(RateLimitedError("api", "ann", 5.0, 1.0))
    with context.enter(Call(deadline_s=4.9)), pytest.raises(RateLimitedError):
        await Retry(3).call(flaky)
    assert world.monotonic() == 0  # it did not even wait


async def test_total_s_cuts_the_attempt_in_progress() -> None:
    async def slow() -> None:
        await asyncio.sleep(10)

    with pytest.raises(OutOfTimeError) as raised:
        await Retry(3, total_s=2.0).call(slow)
    assert world.monotonic() == 2.0
    assert raised.value.name.endswith("slow")


async def test_total_s_leaves_no_time_for_a_wait_it_cannot_afford() -> None:
    flaky = Flaky(RateLimitedError("api", "ann", 5.0, 1.0))
    with pytest.raises(RateLimitedError):
        await Retry(3, total_s=4.0).call(flaky)
    assert world.monotonic() == 0


async def test_each_attempt_is_cut_by_itself_and_tried_again() -> None:
    calls = 0

    @Retry(3, per_attempt_s=1.0, backoff=QUICK)
    async def slow_twice() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(5 if calls < 3 else 0.5)
        return "done"

    assert await slow_twice() == "done"
    assert 2.5 <= world.monotonic() <= 2.8


async def test_a_decorated_function_keeps_name_signature_and_kind() -> None:
    @Retry(3)
    async def charge(order: str, *, amount: int = 1) -> str:
        """Charge it."""
        return order * amount

    assert await charge("a", amount=2) == "aa"
    assert charge.__name__ == "charge"
    assert charge.__doc__ == "Charge it."
    assert str(inspect.signature(charge)) == "(order: str, *, amount: int = 1) -> str"
    assert inspect.iscoroutinefunction(charge)


async def test_methods_partials_and_callables_are_tried_again_too() -> None:
    class Bank:
        def __init__(self) -> None:
            self.calls = 0

        @Retry(3)
        async def charge(self) -> int:
            self.calls += 1
            if self.calls < 3:
                raise ConnectionError
            return self.calls

    assert await Bank().charge() == 3
    flaky = Flaky(ConnectionError())
    assert await Retry(2)(flaky)(1) == 1
    assert await Retry(2)(functools.partial(Flaky(ConnectionError()), 2))() == 2


def test_a_plain_function_waits_where_no_loop_runs() -> None:
    flaky = Flaky(ConnectionError())
    assert Retry(3, backoff=Exponential(0.001))(flaky.plain)(7) == 7
    assert flaky.calls == 2


async def test_a_plain_function_does_not_block_the_loop() -> None:
    flaky = Flaky(ConnectionError())
    with pytest.raises(BlockingRetryError) as raised:
        Retry(3)(flaky.plain)()
    assert str(raised.value) == (
        "retry of 'Flaky.plain' would block the event loop while it waits: make it a coroutine function, "
        "or call it in a thread (asyncio.to_thread)"
    )
    assert isinstance(raised.value.__cause__, ConnectionError)
    assert Retry(3)(flaky.plain)() == 42  # what works at once works anywhere


def test_what_cannot_be_tried_again_is_refused_when_decorated() -> None:
    def items():
        yield 1

    async def async_items():
        yield 1

    for function in (items, async_items):
        with pytest.raises(SettingsError, match="must not be a generator"):
            Retry(3)(function)
    with pytest.raises(SettingsError, match="total_s and per_attempt_s must be None around the plain function"):
        Retry(3, total_s=1.0)(Flaky().plain)


async def test_retries_and_surrenders_are_counted_by_function() -> None:
    @Retry(2)
    async def counted_here() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await counted_here()
    name = counted_here.__qualname__
    assert default_registry.counter("archstone_retries", "", ("function",)).labels(name).value == 1
    assert default_registry.counter("archstone_retries_given_up", "", ("function",)).labels(name).value == 1


async def test_failed_attempts_leave_no_cycles_of_garbage() -> None:
    class LostError(ConnectionError):
        pass

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ConnectionError):
            await Retry(2)(Flaky(LostError(), LostError()))()
        assert await Retry(3)(Flaky(LostError(), LostError()))() == 42
        left = [one for one in gc.get_objects() if isinstance(one, LostError)]
        assert left == []
    finally:
        gc.enable()


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 10), st.floats(0.01, 5), st.floats(0.1, 20))
async def test_attempts_and_time_are_never_exceeded(
    attempts: int, failures: int, work_s: float, limit_s: float
) -> None:
    begun: list[float] = []
    left = failures

    async def work() -> str:
        nonlocal left
        begun.append(world.monotonic())
        await asyncio.sleep(work_s)
        left -= 1
        if left >= 0:
            raise ConnectionError
        return "done"

    try:
        answer = await Retry(attempts, backoff=QUICK, total_s=limit_s).call(work)
    except (ConnectionError, OutOfTimeError):
        answer = "failed"
    assert 1 <= len(begun) <= attempts
    assert all(at_s < limit_s for at_s in begun)
    assert world.monotonic() <= limit_s + 1e-9
    if answer == "done":
        assert len(begun) == failures + 1
