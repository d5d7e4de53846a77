"""A snapshot saves reading, and never says anything else than the events."""

from datetime import datetime
from typing import Any

import pytest

from archstone import world
from archstone.data import Database, Event, MisuseError
from archstone.eventsourcing import Aggregate, EventStore, HandlerError, apply


class Put(Event, name="estest.put"):
    item: str
    count: int
    at: datetime


class Basket(Aggregate, name="basket", snapshot_every=10):
    items: dict[str, int]
    last: datetime | None = None
    seen: frozenset[int] = frozenset()

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.items = {}

    def put(self, item: str, count: int = 1) -> None:
        self.record(Put(item=item, count=count, at=world.now()))

    @apply
    def was_put(self, event: Put) -> None:
        self.items[event.item] = self.items.get(event.item, 0) + event.count
        self.last = event.at
        self.seen |= {event.count}


def basket_class(**options: Any) -> type[Basket]:
    """Another release of the class: the same streams, another form where `options` or the handler say so."""

    class Basket(Aggregate, name="basket", **options):
        items: dict[str, int]

        def __init__(self, id: str) -> None:
            super().__init__(id)
            self.items = {}

        @apply
        def was_put(self, event: Put) -> None:
            self.items[event.item] = -event.count

    return Basket


async def filled(store: EventStore, puts: int) -> Basket:
    basket = Basket("a")
    for number in range(puts):
        basket.put(f"item {number % 3}", number)
    await store.save(basket)
    return basket


async def snapshots(db: Database) -> list[tuple[str, int]]:
    return await db.all(tuple[str, int], "SELECT stream, version FROM _archstone_event_snapshots")


@pytest.mark.parametrize(("puts", "kept"), [(9, []), (10, [("basket/a", 10)]), (11, [("basket/a", 11)])])
async def test_a_save_that_passes_the_number_stores_a_snapshot(
    store: EventStore, db: Database, puts: int, kept: list[tuple[str, int]]
):
    await filled(store, puts)
    assert await snapshots(db) == kept


async def test_the_next_snapshot_takes_the_place_of_the_last(store: EventStore, db: Database):
    basket = await filled(store, 10)
    basket.put("more")
    await store.save(basket)
    assert await snapshots(db) == [("basket/a", 10)]
    for _ in range(9):
        basket.put("more")
    await store.save(basket)
    assert await snapshots(db) == [("basket/a", 20)]


async def test_what_is_loaded_from_a_snapshot_is_what_the_events_say(store: EventStore, db: Database):
    basket = await filled(store, 10)
    basket.put("after", 7)
    await store.save(basket)
    # The events below the snapshot are gone here, so what is loaded can only come from it.
    await db.execute("DELETE FROM _archstone_events WHERE version <= 10")  # the row of the first save
    again = await store.load(Basket, "a")
    assert (again.items, again.last, again.seen, again.version) == (basket.items, basket.last, basket.seen, 11)


async def test_a_snapshot_by_hand(store: EventStore, db: Database):
    basket = await filled(store, 3)
    assert await snapshots(db) == []
    await store.snapshot(basket)
    assert await snapshots(db) == [("basket/a", 3)]
    basket.put("unsaved")
    with pytest.raises(MisuseError, match="aggregate basket/a: has unsaved events, or none: save it first"):
        await store.snapshot(basket)


async def test_a_save_that_rolls_back_leaves_no_snapshot(store: EventStore, db: Database):
    basket = await filled(store, 9)
    basket.put("tenth")
    with pytest.raises(ValueError, match="no"):
        async with db.transaction() as tx:
            await store.save(basket, tx=tx)
            raise ValueError("no")
    assert await snapshots(db) == []


@pytest.mark.parametrize(
    "release",
    [
        pytest.param(basket_class(), id="other fields and handlers"),
        pytest.param(basket_class(snapshot_form=2), id="another number"),
    ],
)
async def test_a_snapshot_of_another_form_of_the_class_is_ignored(store: EventStore, release: type[Basket]):
    await filled(store, 10)
    assert (await store.load(release, "a")).items == {"item 0": -9, "item 1": -7, "item 2": -8}


def changed_handler(sign: int) -> type[Aggregate]:
    if sign > 0:

        class Total(Aggregate, name="total"):
            sum: int = 0

            @apply
            def was_put(self, event: Put) -> None:
                self.sum += event.count

        return Total

    class Total(Aggregate, name="total"):  # type: ignore[no-redef]
        sum: int = 0

        @apply
        def was_put(self, event: Put) -> None:
            self.sum -= event.count

    return Total


async def test_a_mended_handler_is_not_outlived_by_the_state_that_the_old_one_made(store: EventStore):
    old, new = changed_handler(1), changed_handler(-1)
    await store.append("total/a", [Put(item="x", count=5, at=world.now())])
    await store.snapshot(await store.load(old, "a"))
    assert vars(await store.load(old, "a"))["sum"] == 5
    assert vars(await store.load(new, "a"))["sum"] == -5
    assert vars(await store.load(changed_handler(1), "a"))["sum"] == 5


async def test_a_snapshot_that_cannot_be_read_is_ignored(store: EventStore, db: Database):
    basket = await filled(store, 10)
    for broken in (b"{", b'{"items":7}', b'{"unknown":1}'):
        await db.execute("UPDATE _archstone_event_snapshots SET state = :state", state=broken)
        again = await store.load(Basket, "a")
        assert (again.items, again.version) == (basket.items, 10)


async def test_an_attribute_that_a_snapshot_would_lose_is_told(store: EventStore):
    class Hidden(Aggregate, name="hidden"):
        def __init__(self, id: str) -> None:
            super().__init__(id)
            self.secret = 1

        @apply
        def was_put(self, event: Put) -> None:
            self.secret += 1

    hidden = Hidden("a")
    hidden.record(Put(item="x", count=1, at=world.now()))
    await store.save(hidden)
    with pytest.raises(HandlerError, match="a snapshot would lose secret: annotate it in the body of the class"):
        await store.snapshot(hidden)


async def test_an_attribute_that_has_no_json_form_is_told(store: EventStore):
    class Odd(Aggregate, name="odd"):
        thing: EventStore | None = None

        @apply
        def was_put(self, event: Put) -> None: ...

    odd = Odd("a")
    odd.record(Put(item="x", count=1, at=world.now()))
    await store.save(odd)
    with pytest.raises(HandlerError, match="attribute thing cannot be in a snapshot"):
        await store.snapshot(odd)
