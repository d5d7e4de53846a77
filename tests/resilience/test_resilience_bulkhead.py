import asyncio
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone import world
from archstone.observability import default_registry
from archstone.resilience import (
    Bulkhead,
    BulkheadFullError,
    BulkheadStatistics,
    Compartment,
    OutOfTimeError,
    SettingsError,
    Signal,
    add_listener,
    remove_listener,
    within,
)


async def ends(task: asyncio.Task) -> object:
    try:
        return await task
    except (BulkheadFullError, asyncio.CancelledError) as error:
        return type(error)


async def test_no_more_than_its_places_run_at_once() -> None:
    inside, most = 0, 0

    @Bulkhead(3, max_waiting=97)
    async def work() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(1)
        inside -= 1

    await asyncio.gather(*[work() for _ in range(100)])
    assert most == 3
    assert world.monotonic() == 34  # no place lay free


async def test_whoever_finds_no_place_in_the_queue_is_refused_at_once() -> None:
    compartment = Bulkhead(1, max_waiting=1, retry_after_s=2.5).bind("payments")
    sleep = compartment(asyncio.sleep)
    tasks = [asyncio.create_task(sleep(1)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BulkheadFullError) as raised:
        await sleep(1)
    error = raised.value
    assert str(error) == (
        "bulkhead 'payments' is full: 1 calls at once and 1 waiting, no place in the queue; nothing was done, "
        "try again in 2.5 s"
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert compartment.statistics() == BulkheadStatistics(in_flight=1, waiting=1, rejected=1)
    await asyncio.gather(*tasks)
    assert world.monotonic() == 2


@pytest.mark.parametrize(("max_wait_s", "served"), [(0.999, False), (1.001, True)])
async def test_the_wait_has_an_end(max_wait_s: float, served: bool) -> None:
    sleep = Bulkhead(1, max_waiting=1, max_wait_s=max_wait_s).bind("payments")(asyncio.sleep)
    first = asyncio.create_task(sleep(1))
    await asyncio.sleep(0)
    if served:
        await sleep(0)
    else:
        with pytest.raises(BulkheadFullError, match=r"no place after 0\.999 s"):
            await sleep(0)
    await first


async def test_the_deadline_of_the_caller_ends_its_wait() -> None:
    compartment = Bulkhead(1, max_waiting=1).bind("payments")
    first = asyncio.create_task(compartment(asyncio.sleep)(10))
    await asyncio.sleep(0)
    with pytest.raises(OutOfTimeError):
        async with within(1.0), compartment.admit():
            raise AssertionError
    assert compartment.statistics().waiting == 0
    await first


async def test_places_are_handed_on_in_the_order_of_arrival() -> None:
    order: list[int] = []

    @Bulkhead(1, max_waiting=10)
    async def work(number: int) -> None:
        order.append(number)
        await asyncio.sleep(1)

    tasks = []
    for number in range(10):
        tasks.append(asyncio.create_task(work(number)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == sorted(order)


async def test_a_newcomer_does_not_overtake_whoever_was_given_the_place() -> None:
    compartment = Bulkhead(1, max_waiting=2).bind("payments")
    order = []

    async def work(number: int) -> None:
        async with compartment.admit():
            order.append(number)

    await compartment.enter()
    second = asyncio.create_task(work(2))
    await asyncio.sleep(0)
    compartment.leave()
    await work(3)  # begins in the very turn in which the place was handed over
    await second
    assert order == [2, 3]


async def test_a_place_handed_to_whoever_is_cancelled_in_the_same_turn_is_not_lost() -> None:
    compartment = Bulkhead(1, max_waiting=2).bind("payments")
    await compartment.enter()
    second, third = (asyncio.create_task(compartment.enter()) for _ in range(2))
    await asyncio.sleep(0)
    compartment.leave()
    second.cancel()
    assert await ends(second) is asyncio.CancelledError
    await third
    assert compartment.statistics() == BulkheadStatistics(1, 0, 0)
    compartment.leave()
    assert compartment.statistics() == BulkheadStatistics(0, 0, 0)


async def test_a_wait_given_up_in_the_turn_of_a_cancellation_frees_nothing() -> None:
    compartment = Bulkhead(1, max_waiting=1, max_wait_s=1.0).bind("payments")
    await compartment.enter()
    waiter = asyncio.create_task(compartment.enter())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(1.0, waiter.cancel)
    await ends(waiter)
    assert compartment.statistics().in_flight == 1


async def test_failing_and_cancelled_calls_leave_their_places() -> None:
    compartment = Bulkhead(1).bind("payments")

    @compartment
    async def fails() -> None:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await fails()
    hanging = asyncio.create_task(compartment(asyncio.sleep)(100))
    await asyncio.sleep(0)
    hanging.cancel()
    await ends(hanging)
    assert compartment.statistics() == BulkheadStatistics(0, 0, 0)


async def test_refusals_are_told_and_counted() -> None:
    told: list[Signal] = []
    add_listener(told.append)
    try:
        compartment = Bulkhead(1).bind("told")
        async with compartment.admit():
            with pytest.raises(BulkheadFullError):
                await compartment.enter()
            gauge = default_registry.gauge("archstone_bulkhead_in_flight", "", ("bulkhead",)).labels("told")
            assert gauge.value == 1
    finally:
        remove_listener(told.append)
    assert [(signal.kind, signal.layer, signal.name) for signal in told] == [("rejected", "bulkhead", "told")]
    assert default_registry.counter("archstone_bulkhead_rejected", "", ("bulkhead",)).labels("told").value == 1


def test_a_plain_function_is_refused_when_it_is_decorated() -> None:
    with pytest.raises(SettingsError, match="must be a coroutine function"):

        @Bulkhead(1)
        def plain() -> None: ...


def test_settings_out_of_bounds_are_told_all_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        Bulkhead(0, max_waiting=-1, max_wait_s=0, retry_after_s=-0.1)
    assert len(raised.value.faults) == 4
    for wrong in (math.nan, math.inf):
        with pytest.raises(SettingsError):
            Bulkhead(1, max_wait_s=wrong)
    Bulkhead(1, max_waiting=0, retry_after_s=0)


class Model:
    """Who is inside and who waits, as two lists."""

    def __init__(self, places: int, queue: int) -> None:
        self.places, self.queue = places, queue
        self.inside: list[int] = []
        self.waiting: list[int] = []
        self.refused = 0

    def come(self, who: int) -> None:
        if len(self.inside) < self.places:
            self.inside.append(who)
        elif len(self.waiting) < self.queue:
            self.waiting.append(who)
        else:
            self.refused += 1

    def go(self, who: int) -> None:
        for line in (self.inside, self.waiting):
            if who in line:
                line.remove(who)
        while self.waiting and len(self.inside) < self.places:
            self.inside.append(self.waiting.pop(0))


Step = st.one_of(st.just(("come", 0)), st.tuples(st.sampled_from(["end", "cancel"]), st.integers(0, 20)))


@given(st.lists(Step, max_size=40), st.integers(1, 3), st.integers(0, 3))
async def test_it_is_two_lists(steps: list[tuple[str, int]], places: int, queue: int) -> None:
    compartment, model = Bulkhead(places, max_waiting=queue).bind("model"), Model(places, queue)
    over: dict[int, asyncio.Event] = {}
    tasks: dict[int, asyncio.Task] = {}
    entered: list[int] = []

    async def call(compartment: Compartment, who: int) -> None:
        async with compartment.admit():
            entered.append(who)
            await over[who].wait()

    for who, (step, which) in enumerate(steps):
        if step == "come":
            over[who] = asyncio.Event()
            tasks[who] = asyncio.create_task(ends(asyncio.create_task(call(compartment, who))))
            model.come(who)
        elif model.inside + model.waiting:
            there = model.inside + model.waiting if step == "cancel" else model.inside
            leaves = there[which % len(there)]
            over[leaves].set() if step == "end" else tasks[leaves].cancel()
            model.go(leaves)
        for _ in range(6):
            await asyncio.sleep(0)
        assert compartment.statistics() == BulkheadStatistics(len(model.inside), len(model.waiting), model.refused)
        assert set(model.inside) <= set(entered)
        assert not set(model.waiting) & set(entered)
    for event in over.values():
        event.set()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert compartment.statistics() == BulkheadStatistics(0, 0, model.refused)
