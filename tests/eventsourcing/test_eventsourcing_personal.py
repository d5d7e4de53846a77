"""A person is erased by destroying a key: what events held about them is gone, and everything else still reads."""

import builtins
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import pytest

from archstone.data import Database, Event, EventError, Transaction
from archstone.eventsourcing import (
    ERASED,
    Aggregate,
    ErasedPersonError,
    EventStore,
    EventUnreadableError,
    Personal,
    PersonErased,
    Projection,
    Projector,
    apply,
    upcast,
    when,
)
from archstone.eventsourcing.personal import personal_fields
from archstone.eventsourcing.rows import position_of


class Joined(Event, name="estest.joined", key="member_id"):
    member_id: str
    email: Annotated[str, Personal("member_id")]
    born: Annotated[date | None, Personal("member_id", erased=None)] = None
    plan: str = "free"


class Wrote(Event, name="estest.wrote", key="member_id"):
    member_id: str
    to: str
    words: Annotated[str, Personal("member_id")]
    to_name: Annotated[str, Personal("to", erased="somebody")]


class Member(Aggregate, name="member", snapshot_every=3):
    email: str = ""
    born: date | None = None
    plan: str = ""
    letters: tuple[tuple[str, str], ...] = ()

    @apply
    def joined(self, event: Joined) -> None:
        self.email, self.born, self.plan = event.email, event.born, event.plan

    @apply
    def wrote(self, event: Wrote) -> None:
        self.letters = (*self.letters, (event.words, event.to_name))


ANN = Joined(member_id="ann", email="ann@secret.org", born=date(1990, 5, 1), plan="paid")
LETTER = Wrote(member_id="ann", to="bob", words="dear secret bob", to_name="Bob Secret")


async def ann(store: EventStore, *events: Event) -> Member:
    member = Member("ann")
    for event in events:
        member.record(event)
    await store.save(member)
    return member


TABLES = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    "postgresql": "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
}


async def everything(db: Database) -> bytes:
    """Every value in every table."""
    tables = await db.all(str, TABLES[db.dialect])
    return repr([await db.all(tuple[Any, ...], f"SELECT * FROM {table}") for table in tables]).encode()


async def test_personal_fields_are_not_stored_in_the_clear_and_read_as_they_were(store: EventStore, db: Database):
    await ann(store, ANN, LETTER)
    assert b"secret" not in await everything(db)
    assert b"1990" not in await everything(db)
    assert [each.event for each in await store.read()] == [ANN, LETTER]
    member = await store.load(Member, "ann")
    assert (member.email, member.born, member.letters) == (
        "ann@secret.org",
        date(1990, 5, 1),
        (("dear secret bob", "Bob Secret"),),
    )


async def test_after_erasing_placeholders_are_read_and_the_rest_of_the_stream_still_loads(store: EventStore):
    await ann(store, ANN, LETTER)
    assert await store.erase("ann") == position_of(2, 0)
    member = await store.load(Member, "ann")
    assert (member.email, member.born, member.plan) == (ERASED, None, "paid")
    # What the letter says about somebody else is that person's, and stays.
    assert member.letters == ((ERASED, "Bob Secret"),)
    assert member.version == 2
    await store.erase("bob")
    assert (await store.load(Member, "ann")).letters == ((ERASED, "somebody"),)
    events = [each.event for each in await store.read()]
    assert events[2:] == [PersonErased(person="ann"), PersonErased(person="bob")]


async def test_erasing_twice_does_nothing_more(store: EventStore):
    await ann(store, ANN)
    assert await store.erase("ann") == position_of(2, 0)
    assert await store.erase("ann") == 0
    assert await store.last_position() == position_of(2, 0)


async def test_one_of_whom_nothing_is_known_can_be_erased_too(store: EventStore):
    assert await store.erase("ann") == position_of(1, 0)
    with pytest.raises(ErasedPersonError):
        await ann(store, ANN)


async def test_an_erasure_that_rolls_back_has_not_been(store: EventStore, db: Database):
    await ann(store, ANN)
    with pytest.raises(ValueError, match="no"):
        async with db.transaction() as tx:
            await store.erase("ann", tx=tx)
            raise ValueError("no")
    assert (await store.load(Member, "ann")).email == "ann@secret.org"


async def test_the_key_is_gone_from_the_database(store: EventStore, db: Database):
    await ann(store, ANN)
    (key,) = await db.all(bytes, "SELECT key FROM _archstone_person_keys")
    assert repr(key).encode() in await everything(db)
    await store.erase("ann")
    assert repr(key).encode() not in await everything(db)
    assert await db.all(tuple[str, bytes | None], "SELECT person, key FROM _archstone_person_keys") == [("ann", None)]


async def test_nothing_personal_is_stored_about_one_who_was_erased(store: EventStore):
    await ann(store, ANN)
    await store.erase("ann")
    member = await store.load(Member, "ann")
    member.record(LETTER)
    with pytest.raises(ErasedPersonError) as caught:
        await store.save(member)
    assert str(caught.value) == (
        "person 'ann' was erased: nothing personal can be stored about them, and nothing was; one who comes back gets "
        "a new id"
    )
    assert (await store.load(Member, "ann")).version == 1


async def test_a_snapshot_does_not_outlive_the_person(store: EventStore, db: Database):
    await ann(store, ANN, LETTER, LETTER)
    assert await db.one(int, "SELECT COUNT(*) FROM _archstone_event_snapshots") == 1
    assert (await store.load(Member, "ann")).persons == {"ann", "bob"}
    await store.erase("bob")
    assert await db.one(int, "SELECT COUNT(*) FROM _archstone_event_snapshots") == 0
    assert b"secret" not in await everything(db)
    assert (await store.load(Member, "ann")).letters == (("dear secret bob", "somebody"),) * 2


async def test_a_snapshot_of_what_was_loaded_before_the_erasure_is_not_stored(store: EventStore, db: Database):
    await ann(store, ANN, LETTER)
    before = await store.load(Member, "ann")
    await store.erase("bob")
    await store.snapshot(before)
    assert await db.one(int, "SELECT COUNT(*) FROM _archstone_event_snapshots") == 0
    await store.snapshot(await store.load(Member, "ann"))
    assert await db.one(int, "SELECT COUNT(*) FROM _archstone_event_snapshots") == 0


class Addresses(Projection, name="addresses"):
    async def create(self, tx: Transaction) -> None:
        await tx.execute(f"CREATE TABLE {self.table('members')} (id TEXT PRIMARY KEY, email TEXT NOT NULL)")

    @when
    async def joined(self, tx: Transaction, event: Joined) -> None:
        insert = f"INSERT INTO {self.table('members')} (id, email) VALUES (:id, :email)"
        await tx.execute(insert, id=event.member_id, email=event.email)

    @when
    async def erased(self, tx: Transaction, event: PersonErased) -> None:
        await tx.execute(f"UPDATE {self.table('members')} SET email = 'gone' WHERE id = :id", id=event.person)


class Bare(Addresses, name="bare"):
    """Shows what it is given."""

    @when
    async def erased(self, tx: Transaction, event: PersonErased) -> None: ...


async def test_projections_hear_of_it_and_a_rebuild_sees_placeholders(store: EventStore, db: Database):
    await ann(store, ANN)
    async with Projector(store, Addresses()) as addresses, Projector(store, Bare()) as bare:
        await addresses.reached(position_of(1, 0), timeout_s=1.0)
        await bare.reached(position_of(1, 0), timeout_s=1.0)
        assert await db.all(str, "SELECT email FROM addresses_v1_members") == ["ann@secret.org"]
        position = await store.erase("ann")
        await addresses.reached(position, timeout_s=1.0)
        assert await db.all(str, "SELECT email FROM addresses_v1_members") == ["gone"]


async def test_a_projection_that_begins_after_the_erasure_sees_placeholders(store: EventStore, db: Database):
    await ann(store, ANN)
    position = await store.erase("ann")
    async with Projector(store, Bare()) as bare:
        await bare.reached(position, timeout_s=1.0)
        assert await db.all(str, "SELECT email FROM bare_v1_members") == [ERASED]


async def test_many_people_in_one_batch(store: EventStore):
    members = [Joined(member_id=f"m{number}", email=f"{number}@x") for number in range(200)]
    await store.append("members", members)
    await store.erase("m7")
    read = [each.event for each in await store.stream("members")]
    assert read[:7] + read[8:] == members[:7] + members[8:]
    assert read[7] == Joined(member_id="m7", email=ERASED)


async def test_a_value_that_was_moved_to_another_event_does_not_open(store: EventStore, db: Database):
    await store.append("a", [Joined(member_id="ann", email="one@x")])
    await store.append("b", [Joined(member_id="ann", email="two@x")])
    await db.execute(
        "UPDATE _archstone_events SET payloads = (SELECT payloads FROM _archstone_events WHERE position = 1)"
        " WHERE position = 2"
    )
    with pytest.raises(EventUnreadableError, match="field email, cannot be read: its seal does not open"):
        await store.stream("b")


async def test_an_upcast_sees_the_value_or_the_placeholder(store: EventStore):
    class Called(Event, name="estest.called", version=1):
        person: str
        name: Annotated[str, Personal("person")]

    await store.append("called", [Called(person="p", name="Ann Lee")])

    class CalledNow(Event, name="estest.called", version=2):
        person: str
        first: str

    @upcast("estest.called", 1)
    def first_name(fields: dict[str, Any]) -> dict[str, Any]:
        return {"person": fields["person"], "first": fields["name"].split()[0]}

    assert (await store.stream("called"))[0].event == CalledNow(person="p", first="Ann")
    await store.erase("p")
    assert (await store.stream("called"))[0].event == CalledNow(person="p", first=ERASED)


def test_a_mark_that_would_protect_nothing_is_refused():
    @dataclass(frozen=True)
    class Inner:
        secret: Annotated[str, Personal("id")]

    class Wrong(Event, name="estest.wrong"):
        id: str
        nobody: Annotated[str, Personal("gone")]
        circle: Annotated[str, Personal("circle")]
        count: Annotated[int, Personal("id")]
        inside: Annotated[str, Personal("id")] | None = None
        deeper: Inner

    with pytest.raises(EventError) as caught:
        personal_fields(Wrong)
    told = str(caught.value)
    assert "nobody: Personal('gone') must name a field of the event that is not personal itself" in told
    assert "circle: Personal('circle') must name a field" in told
    assert "count: erased='(erased)' does not fit its type: say Personal('id', erased=...)" in told
    assert "inside: Personal counts on a field of the event itself" in told
    assert "deeper: Personal counts on a field of the event itself" in told


async def test_an_event_whose_mark_is_wrong_is_not_stored(store: EventStore):
    class Loose(Event, name="estest.loose"):
        id: str
        email: Annotated[str | None, Personal("ids")] = None

    with pytest.raises(EventError, match="must name a field of the event"):
        await store.append("loose", [Loose(id="a")])
    assert await store.last_position() == 0


@pytest.fixture
async def without_cryptography(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    found = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return found(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    yield
    monkeypatch.undo()


async def test_without_the_library_the_error_names_the_extra_and_other_events_need_it_not(
    store: EventStore, without_cryptography: None
):
    class Plain(Event, name="estest.plain"):
        pass

    await store.append("plain", [Plain()])
    with pytest.raises(ImportError, match=r"personal fields need cryptography: pip install 'archstone\[security\]'"):
        await ann(store, ANN)
    assert await store.last_position() == position_of(1, 0)
