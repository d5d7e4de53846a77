"""What the console tells of an order of the real shop: while it goes on, when it has ended, and when it went wrong."""

import asyncio
import gc
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from archstone import context, world
from archstone.context import Principal
from archstone.gateway import SagaStory, Story
from archstone.observability import recorders
from archstone.runtime import running
from archstone.runtime.console import TooManyWatchersError
from archstone.runtime.embedded import Embedded
from archstone.systems.shop.orders.contract import Orders
from archstone.systems.shop.system import shop
from archstone.systems.shop.users.contract import UserWrite
from archstone.systems.shop.values import Address, Line

HOME = Address(name="Ann Alder", street="Mill Lane 1", city="Tarn", postcode="12345", country="DE")


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Embedded]:
    async with running(shop, data=tmp_path / "shop") as run:
        yield run


async def placed(run: Embedded, token: str = "tok_ok", sku: str = "KIT-001") -> str:
    user = await run.client(UserWrite).register(f"{world.new_id()}@example.com", "a quiet evening", "Ann")
    ann = Principal(user.id, frozenset(user.roles))
    with context.enter(context.current()._replace(key=world.new_id())):
        return (await run.client(Orders, as_=ann).place((Line(sku=sku, quantity=1),), HOME, token)).id


async def at_rest(run: Embedded, ref: str) -> Story:
    story, calm = await run.console.story(ref), 0
    for _ in range(2_000):
        calm = calm + 1 if story.found and not story.live else 0
        if calm == 5:  # between two events there can be a moment of rest
            return story
        await asyncio.sleep(0.05)
        story = await run.console.story(ref)
    raise AssertionError(story)


def saga(story: Story, method: str) -> SagaStory:
    (found,) = [each for each in story.sagas if each.method == method]
    return found


async def test_an_order_is_told_with_its_trace_its_sagas_and_its_events(run: Embedded) -> None:
    story = await at_rest(run, order_id := await placed(run))
    (trace,) = story.traces
    by_name = {row.name: row for row in trace.rows}
    assert trace.rows[0].name == "Orders.place"
    assert trace.rows[0].offset_us == 0
    assert {row.status for row in trace.rows} == {"ok"}
    charge = by_name["Payments.charge"]
    assert (charge.service, charge.kind) == ("payments", "server")
    parent = next(row for row in trace.rows if row.id == charge.parent)
    assert (parent.name, parent.service, parent.depth) == ("step partners.take_money", "orders", charge.depth - 1)
    assert by_name["saga charge"].service == "payments"
    checkout = saga(story, "checkout")
    assert (checkout.id, checkout.service, checkout.status, checkout.parent) == (order_id, "orders", "done", None)
    assert [step.state for step in checkout.steps] == ["done"] * 5
    assert saga(story, "charge").parent == order_id
    assert saga(story, "tell_confirmed").parent is None
    handled = {event.name: {each.group for each in event.handlings} for event in story.events}
    assert "analytics" in handled["orders.order-placed"]
    assert "notifications" in handled["orders.order-confirmed"]
    assert {each.state for event in story.events for each in event.handlings} == {"handled"}
    assert all(event.sent_us is not None and event.sent_us >= event.published_us for event in story.events)


async def test_a_story_is_json_and_its_mark_stays_until_something_happens(run: Embedded) -> None:
    first = await at_rest(run, order_id := await placed(run, "tok_declined"))
    await asyncio.sleep(10)
    second = await run.console.story(order_id)
    assert first.mark == second.mark
    assert orjson.loads(orjson.dumps(second))["sagas"][0]["id"] == order_id


async def test_of_an_unknown_id_nothing_is_found(run: Embedded) -> None:
    story = await run.console.story("nobody")
    assert (story.found, story.live, story.traces, story.sagas, story.events) == (False, False, (), (), ())


async def test_a_declined_payment_is_told_with_the_way_back(run: Embedded) -> None:
    story = await at_rest(run, await placed(run, "tok_declined"))
    checkout = saga(story, "checkout")
    assert (checkout.status, checkout.going_back) == ("failed", True)
    assert checkout.error is not None
    assert "declined" in checkout.error
    assert [(step.operation, step.state) for step in checkout.steps] == [
        ("partners.hold_goods", "undone"),
        ("partners.take_money", "undone"),
    ]
    money, goods = checkout.steps[1], checkout.steps[0]
    assert money.undone_us is not None
    assert goods.undone_us is not None
    assert money.undone_us <= goods.undone_us
    names = [row.name for trace in story.traces for row in trace.rows]
    assert "undo partners.give_up" in names


async def test_what_goes_on_is_told_while_it_goes_on(run: Embedded) -> None:
    order_id = await placed(run, "tok_timeout")
    await asyncio.sleep(1)
    story = await run.console.story(order_id)
    assert story.live
    rows = {row.name: row for trace in story.traces for row in trace.rows}
    assert (rows["saga checkout"].status, rows["Payments.charge"].status) == ("open", "open")
    assert rows["saga checkout"].duration_us >= 900_000
    checkout = saga(story, "checkout")
    assert [step.state for step in checkout.steps] == ["done", "begun"]
    assert saga(story, "charge").status == "running"
    assert (await at_rest(run, order_id)).mark != story.mark


async def test_a_watcher_of_what_does_not_change_is_told_once(run: Embedded) -> None:
    order_id = await placed(run, "tok_declined")
    await at_rest(run, order_id)
    watch = run.console.watch(order_id)
    await anext(watch)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 60)


async def test_two_orders_do_not_tell_of_each_other(run: Embedded) -> None:
    first, second = await placed(run), await placed(run, sku="DES-003")
    one, two = await at_rest(run, first), await at_rest(run, second)
    assert not {trace.id for trace in one.traces} & {trace.id for trace in two.traces}
    assert not {event.id for event in one.events} & {event.id for event in two.events}


async def test_a_watcher_sees_changes_a_few_times_a_second_and_the_end_at_the_drain(run: Embedded) -> None:
    before = recorders()
    order_id = await placed(run, "tok_timeout")
    seen: list[tuple[float, Story]] = []

    async def look() -> None:
        async for story in run.console.watch(order_id):
            seen.append((world.monotonic(), story))  # noqa: PERF401 - looked at meanwhile

    looking = asyncio.create_task(look())
    await asyncio.sleep(0.01)
    assert len(recorders()) == len(before) + 1
    await at_rest(run, order_id)
    await asyncio.sleep(2)
    assert not seen[-1][1].live
    assert seen[0][1].live
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(seen)]
    assert min(gaps) >= 0.099
    marks = [story.mark for _, story in seen]
    assert len(set(marks)) == len(marks)
    await run.drain()
    await asyncio.wait_for(looking, 1)
    assert recorders() == before


async def test_waiting_for_the_next_story_can_be_given_up_and_taken_up_again(run: Embedded) -> None:
    order_id = await placed(run, "tok_timeout")
    watch = run.console.watch(order_id)
    first = await anext(watch)
    await asyncio.sleep(0.5)
    watch_again = await anext(watch) if first.mark != (await run.console.story(order_id)).mark else first
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 0.2)
    later = await asyncio.wait_for(anext(watch), 60)
    assert later.mark != watch_again.mark
    await watch.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_whoever_has_a_story_can_wait_for_the_next_one(run: Embedded) -> None:
    order_id = await placed(run, "tok_timeout")
    await asyncio.sleep(1)
    now = await run.console.story(order_id)
    began_s = world.monotonic()
    same = await run.console.story(order_id, after=now.mark, wait_s=0.3)
    assert same.mark == now.mark
    assert world.monotonic() - began_s >= 0.3
    other = await run.console.story(order_id, after=now.mark, wait_s=60)
    assert other.mark != now.mark


async def test_watchers_are_bounded_and_a_place_is_free_again_when_one_leaves(run: Embedded) -> None:
    watches = [run.console.watch(f"o{number}") for number in range(200)]
    with pytest.raises(TooManyWatchersError):
        run.console.watch("one more")
    await watches[0].aclose()
    one_more = run.console.watch("one more")
    assert not (await anext(one_more)).found
    for watch in (*watches, one_more):
        await watch.aclose()


async def test_a_page_that_is_cancelled_in_the_middle_of_its_loop_leaves_no_watch_behind(run: Embedded) -> None:
    before = recorders()

    async def page() -> None:
        async for _ in run.console.watch("o1"):
            pass

    pages = [asyncio.create_task(page()) for _ in range(150)]
    await asyncio.sleep(0.01)
    assert len(recorders()) == len(before) + 1
    for each in pages:
        each.cancel()
    await asyncio.wait(pages)
    pages.clear()
    del each
    await asyncio.sleep(1)
    gc.collect()
    assert recorders() == before
    watches = [run.console.watch("o2") for _ in range(200)]
    assert len(watches) == 200
