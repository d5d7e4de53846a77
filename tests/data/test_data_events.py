"""Events, the outbox and the check that types are immutable."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
import pytest
from pydantic import Base64Bytes, BaseModel

from archstone import context
from archstone.context import Call, Principal, Trace
from archstone.data import (
    ConstraintError,
    Database,
    Envelope,
    Event,
    EventError,
    event_class,
    event_classes,
    mutable_parts,
)


class Line(BaseModel, frozen=True):
    sku: str
    quantity: int


class StockReserved(Event, name="inventory.stock-reserved", version=2, key="order_id"):
    order_id: str
    lines: tuple[Line, ...]


class Ticked(Event, name="clock.ticked"):
    pass


@pytest.fixture
async def db(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/x.db") as db:
        await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        yield db


async def outbox(db: Database) -> list[Envelope]:
    return await db.all(Envelope, "SELECT * FROM _archstone_outbox ORDER BY position")


EVENT = StockReserved(order_id="o1", lines=(Line(sku="a", quantity=2),))


async def test_an_event_is_staged_with_its_change_and_the_call_that_caused_it(db: Database):
    call = Call(principal=Principal("ann"), trace=Trace(1, 2), correlation_id="c", causation_id="m")
    with context.enter(call):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            tx.publish(EVENT)
    (row,) = await outbox(db)
    assert len(row.id) == 32
    assert row[1:5] == ("inventory", "inventory.stock-reserved", 2, "o1")
    assert event_class(row.name, row.version).decode(row.payload) == EVENT
    assert orjson.loads(row.headers) == {
        "traceparent": "00-00000000000000000000000000000001-0000000000000002-01",
        "correlation_id": "c",
        "causation_id": "m",
        "caused_by": "ann",
    }


async def test_an_event_without_a_key_is_ordered_with_nobody(db: Database):
    async with db.transaction() as tx:
        tx.publish(Ticked())
    (row,) = await outbox(db)
    assert row.key == row.id
    assert row.headers == b"{}"


async def test_an_event_of_a_transaction_that_fails_is_never_there(db: Database):
    woken: list[int] = []
    db.outbox_ready.append(lambda: woken.append(1))
    await db.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(ConstraintError):
        async with db.transaction() as tx:
            tx.publish(EVENT)
            await tx.execute("INSERT INTO t VALUES (1)")
    assert await outbox(db) == []
    assert woken == []


async def test_the_relay_is_woken_after_the_commit_and_before_the_answer(db: Database):
    seen: list[str] = []
    db.outbox_ready.append(lambda: seen.append("woken"))
    async with db.transaction() as tx:
        tx.publish(EVENT)
        tx.publish(EVENT)
    seen.append("answered")
    assert seen == ["woken", "answered"]
    assert len(await outbox(db)) == 2


def test_an_unknown_event_says_what_to_do():
    with pytest.raises(EventError, match=r"event no\.such: version 1 is not known; import the module that defines it"):
        event_class("no.such", 1)
    assert event_classes()["inventory.stock-reserved", 2] is StockReserved


def test_all_faults_of_an_event_are_told_at_once():
    with pytest.raises(EventError) as caught:

        class Wrong(Event, name="Wrong", version=0, key="none"):
            lines: list[int]

    assert str(caught.value) == (
        "event test_all_faults_of_an_event_are_told_at_once.<locals>.Wrong: name 'Wrong' must be lower case words "
        "joined by dots, such as orders.order-placed; version=0 must be at least 1; key='none' is none of its fields; "
        "lines: list[int] cannot cross: use tuple[X, ...]"
    )


def test_bytes_travel_in_events_with_an_encoding_that_json_has():
    class Scanned(Event, name="scans.made"):
        image: Base64Bytes

    scanned = Scanned(image=b"/w==")
    assert (scanned.image, Scanned.decode(scanned.encode())) == (b"\xff", scanned)
    with pytest.raises(EventError, match=r"image: bytes cannot cross: use pydantic\.Base64Bytes"):

        class Raw(Event, name="scans.raw"):
            image: bytes


def test_two_events_of_one_name_and_version_are_refused():
    with pytest.raises(EventError, match=r"clock\.ticked version 1 is already .*Ticked"):

        class Other(Event, name="clock.ticked"):
            pass


async def test_an_event_without_a_name_cannot_be_published(db: Database):
    class Nameless(Event):
        pass

    async with db.transaction() as tx:
        with pytest.raises(EventError, match="has no name"):
            tx.publish(Nameless())


class Loose(BaseModel):
    a: int


@dataclass
class Thawed:
    a: int


@dataclass(frozen=True)
class Frozen:
    a: tuple[int, ...]
    b: "Frozen | None"


class Pair(NamedTuple):
    a: int
    b: Loose


@pytest.mark.parametrize(
    ("annotation", "faults"),
    [
        (int | None, []),
        (tuple[frozenset[str], ...], []),
        (Literal["a", 1], []),
        (Decimal, []),
        (Frozen, []),
        (Line, []),
        (Base64Bytes, []),
        (list[int], ["value: list[int] cannot cross: use tuple[X, ...]"]),
        (
            tuple[dict[str, int], int],
            ["value: dict[str, int] cannot cross: use tuple[tuple[K, V], ...] or a frozen model"],
        ),
        (bytes, ["value: bytes cannot cross: use pydantic.Base64Bytes, since JSON has no bytes"]),
        (Loose, ["value: Loose is not frozen: declare it with frozen=True"]),
        (Thawed, ["value: Thawed is not frozen: declare it with frozen=True"]),
        (Pair, ["value: Pair.b: Loose is not frozen: declare it with frozen=True"]),
        (Any, ["value: Any says nothing about what it holds: name a type"]),
        (object, ["value: object says nothing about what it holds: name a type"]),
    ],
)
def test_mutable_parts_of_a_type_are_named(annotation: object, faults: list[str]):
    assert mutable_parts(annotation) == faults
