import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone import context, world
from archstone.resilience import Coalesce, CoalesceStatistics, OutOfTimeError, SettingsError, within


class Origin:
    def __init__(self) -> None:
        self.loads: list[object] = []
        self.cancelled = 0
        self.fails = False

    async def load(self, key: object, *, part: int = 0) -> str:
        self.loads.append(key)
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails:
            raise ConnectionError
        return f"{key}/{part}"


async def test_a_thousand_callers_make_one_call() -> None:
    origin, flights = Origin(), Coalesce().bind("products")
    load = flights(origin.load)
    assert set(await asyncio.gather(*[load("lamp") for _ in range(1000)])) == {"lamp/0"}
    assert origin.loads == ["lamp"]
    assert flights.statistics() == CoalesceStatistics(in_flight=0, begun=1, joined=999)
    assert await load("lamp") == "lamp/0"
    assert origin.loads == ["lamp", "lamp"]  # nothing is kept: that is what a cache is for


async def test_other_arguments_are_other_calls() -> None:
    origin = Origin()
    load = Coalesce()(origin.load)
    answers = await asyncio.gather(load("a"), load("b"), load("a", part=1), load("a"))
    assert answers == ["a/0", "b/0", "a/1", "a/0"]
    assert len(origin.loads) == 3


async def test_a_key_says_what_is_the_same() -> None:
    origin = Origin()
    load = Coalesce(key=lambda key, **_: key[0])(origin.load)
    assert await asyncio.gather(load("apple"), load("axe")) == ["apple/0", "apple/0"]


async def test_functions_behind_the_same_flights_never_share_one() -> None:
    flights, one, other = Coalesce().bind("both"), Origin(), Origin()
    await asyncio.gather(flights(one.load)("a"), flights(other.load)("a"))
    assert (one.loads, other.loads) == (["a"], ["a"])


async def test_cancelling_the_first_caller_takes_nothing_from_the_others() -> None:
    """cashews, cachebox, moka and theine fail every waiter then."""
    origin = Origin()
    load = Coalesce()(origin.load)
    first, *others = [asyncio.create_task(load("lamp")) for _ in range(10)]
    await asyncio.sleep(0.5)
    first.cancel()
    assert set(await asyncio.gather(*others)) == {"lamp/0"}
    assert first.cancelled()
    assert (origin.loads, origin.cancelled, world.monotonic()) == (["lamp"], 0, 1.0)


async def test_when_the_last_caller_has_left_the_call_is_cancelled_and_the_next_begins_anew() -> None:
    origin, flights = Origin(), Coalesce().bind("products")
    load = flights(origin.load)
    callers = [asyncio.create_task(load("lamp")) for _ in range(3)]
    await asyncio.sleep(0.5)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert await load("lamp") == "lamp/0"
    assert (origin.loads, origin.cancelled) == (["lamp", "lamp"], 1)
    early = asyncio.create_task(load("lamp"))
    await asyncio.sleep(0)
    early.cancel()  # in the turn in which its flight has not yet begun
    await asyncio.gather(early, return_exceptions=True)
    assert flights.statistics().in_flight == 0


async def test_a_failure_goes_to_all_who_wait_and_is_not_kept() -> None:
    origin = Origin()
    load = Coalesce()(origin.load)
    origin.fails = True
    answers = await asyncio.gather(*[load("lamp") for _ in range(5)], return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError] * 5
    origin.fails = False
    assert await load("lamp") == "lamp/0"


async def test_whoever_comes_in_the_turn_of_the_landing_begins_anew() -> None:
    origin, flights = Origin(), Coalesce().bind("products")
    load = flights(origin.load)
    origin.fails = True
    seen = []

    async def late() -> None:
        while flights.statistics().in_flight:
            await asyncio.sleep(0)
            if not origin.fails or world.monotonic() < 1:
                await asyncio.sleep(1 - world.monotonic())
        origin.fails = False
        seen.append(await load("lamp"))

    first = asyncio.create_task(load("lamp"))
    await asyncio.sleep(0)
    await asyncio.gather(late(), first, return_exceptions=True)
    assert seen == ["lamp/0"]


async def test_each_caller_waits_as_long_as_its_own_deadline_lasts() -> None:
    origin = Origin()
    load = Coalesce()(origin.load)

    async def hurried() -> str:
        async with within(0.5):
            return await load("lamp")

    answers = await asyncio.gather(hurried(), load("lamp"), return_exceptions=True)
    assert isinstance(answers[0], OutOfTimeError)
    assert answers[1] == "lamp/0"


async def test_a_flight_has_no_deadline_and_keeps_the_rest_of_the_first_call() -> None:
    @Coalesce()
    async def call() -> context.Call:
        return context.current()

    with context.enter(context.Call(deadline_s=99.0, correlation_id="c1")):
        inside = await call()
    assert (inside.deadline_s, inside.correlation_id) == (None, "c1")


def test_a_plain_function_is_refused() -> None:
    with pytest.raises(SettingsError, match="must be a coroutine function"):
        Coalesce()(len)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 8), st.booleans()), min_size=1, max_size=12))
async def test_every_caller_that_is_not_cancelled_gets_an_answer_of_its_time(
    callers: list[tuple[str, int, bool]],
) -> None:
    """The model: a key has one call under way at most, and each who stays has an answer at most a second later."""
    under_way: dict[str, int] = {"a": 0, "b": 0}

    @Coalesce()
    async def load(key: str) -> tuple[str, float]:
        began = world.monotonic()
        under_way[key] += 1
        assert under_way[key] == 1
        try:
            await asyncio.sleep(1)
        finally:
            under_way[key] -= 1
        return key, began

    async def caller(key: str, eighth: int, leaves: bool) -> None:
        await asyncio.sleep(eighth / 8)
        came = world.monotonic()
        task = asyncio.create_task(load(key))
        if leaves:
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return
        answer, began = await task
        assert answer == key
        assert came <= began + 1
        assert world.monotonic() <= came + 1

    await asyncio.gather(*[caller(*one) for one in callers])
