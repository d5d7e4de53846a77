"""The part that `Coalesce` and the loads of a cache share; what it promises beyond them."""

import asyncio

import pytest

from archstone.context import Call
from archstone.resilience.flight import Flight, SingleFlight


async def test_whoever_comes_between_the_landing_and_its_callback_begins_anew() -> None:
    flights, gate = SingleFlight(), asyncio.get_running_loop().create_future()
    seen: list[Flight | None] = []

    async def work(_flight: Flight) -> str:
        await gate
        return "landed"

    async def late() -> None:
        await gate
        seen.append(flights.find("key") if flight.task.done() else None)  # in another order there is nothing to see

    flight = flights.begin("key", work, name="flight", call=Call())
    await asyncio.sleep(0)
    comer = asyncio.create_task(late())
    await asyncio.sleep(0)
    assert flights.find("key") is flight
    gate.set_result(None)  # wakes the flight, and in the same turn whoever is late
    assert await flights.join(flight) == "landed"
    await comer
    assert seen == [None]
    assert (len(flights), flights.joinable) == (0, 0)


@pytest.mark.parametrize("alone", [True, False])
async def test_one_that_flies_alone_goes_on_when_nobody_waits_any_more(alone: bool) -> None:
    flights, landed = SingleFlight(), []

    async def work(_flight: Flight) -> None:
        await asyncio.sleep(1)
        landed.append("landed")

    flight = flights.begin("key", work, name="flight", call=Call(), alone=alone)
    joiner = asyncio.create_task(flights.join(flight))
    await asyncio.sleep(0.5)
    joiner.cancel()
    await asyncio.sleep(1)
    assert landed == (["landed"] if alone else [])


async def test_what_is_detached_serves_those_who_wait_and_nobody_joins_it() -> None:
    flights = SingleFlight()

    async def work(flight: Flight) -> bool:
        await asyncio.sleep(1)
        return flight.detached

    by_key, by_tag, other = [
        flights.begin(key, work, name=key, call=Call(), tags=tags)
        for key, tags in (("a", ()), ("b", ("t",)), ("c", ()))
    ]
    waiting = [asyncio.create_task(flights.join(flight)) for flight in (by_key, by_tag, other)]
    await asyncio.sleep(0)
    flights.detach({"a"}, {"t"})
    assert [flights.find(key) for key in "abc"] == [None, None, other]
    assert await asyncio.gather(*waiting) == [True, True, False]


async def test_stopping_cancels_those_that_cannot_be_joined_too() -> None:
    flights = SingleFlight()

    async def work(_flight: Flight) -> None:
        await asyncio.sleep(9)

    flight = flights.begin("key", work, name="flight", call=Call())
    waiting = asyncio.create_task(flights.join(flight))
    await asyncio.sleep(0)
    flights.detach({"key"}, ())
    await flights.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(flights) == 0
