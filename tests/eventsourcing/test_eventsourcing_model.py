"""Saves, conflicts, erasures, snapshots and reads in any order, against a model of dicts and lists."""

import tempfile
from typing import Annotated, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archstone import simulation
from archstone.data import Database, Event, Transaction
from archstone.eventsourcing import (
    ERASED,
    Aggregate,
    ErasedPersonError,
    EventStore,
    Personal,
    PersonErased,
    Projection,
    Projector,
    ProjectorSettings,
    StreamConflictError,
    apply,
    when,
)


class Said(Event, name="esmodel.said", key="topic"):
    topic: str
    person: str
    words: Annotated[str, Personal("person")]


class Closed(Event, name="esmodel.closed", key="topic"):
    topic: str


class Talk(Aggregate, name="talk", snapshot_every=7):
    said: tuple[tuple[str, str], ...] = ()
    closed: int = 0

    @apply
    def was_said(self, event: Said) -> None:
        self.said = (*self.said, (event.person, event.words))

    @apply
    def was_closed(self, event: Closed) -> None:
        self.closed += 1


class Counts(Projection, name="counts"):
    async def create(self, tx: Transaction) -> None:
        await tx.execute(f"CREATE TABLE {self.table('seen')} (number INTEGER PRIMARY KEY, words TEXT NOT NULL)")

    @when
    async def was_said(self, tx: Transaction, event: Said) -> None:
        await tx.execute(f"INSERT INTO {self.table('seen')} (words) VALUES (:words)", words=event.words)


class Step(NamedTuple):
    what: str
    """save, stale (of a state that is old) or erase."""
    topic: int
    sizes: list[tuple[int, int]]
    """(person, how many words of theirs); person 3 is nobody: the talk is closed."""


STEPS = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(["save", "save", "save", "stale", "erase"]),
        topic=st.integers(0, 2),
        sizes=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 5, 257])), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=8,
)


class Model:
    """All that must be read: (topic, person, words), person empty where the talk was closed."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, str]] = []
        self.erased: set[str] = set()

    def talk(self, topic: str) -> tuple[tuple[tuple[str, str], ...], int]:
        mine = [each for each in self.all if each[0] == topic]
        said = tuple((person, self.read(person, words)) for _, person, words in mine if person)
        return said, len(mine) - len(said)

    def read(self, person: str, words: str) -> str:
        return ERASED if person in self.erased else words


def add(talk: Talk, step: Step, count: int) -> list[tuple[str, str, str]]:
    added: list[tuple[str, str, str]] = []
    for person, size in step.sizes:
        for _ in range(size):
            if person == 3:
                talk.record(Closed(topic=talk.id))
                added.append((talk.id, "", ""))
            else:
                words = f"word {count + len(added)}"
                talk.record(Said(topic=talk.id, person=f"p{person}", words=words))
                added.append((talk.id, f"p{person}", words))
    return added


async def take(store: EventStore, step: Step, model: Model) -> None:
    topic = f"t{step.topic}"
    if step.what == "erase":
        person = f"p{step.topic}"
        assert bool(await store.erase(person)) == (person not in model.erased)
        model.erased.add(person)
        return
    talk = await store.find(Talk, topic) or Talk(topic)
    if step.what == "stale" and talk.version:
        talk = Talk(topic)
    added = add(talk, step, len(model.all))
    refused = {person for _, person, _ in added} & model.erased
    stale = step.what == "stale" and any(each[0] == topic for each in model.all)
    try:
        await store.save(talk)
    except StreamConflictError:
        assert stale
    except ErasedPersonError:
        assert refused
    else:
        assert not stale
        assert not refused
        model.all += added


async def run(steps: list[Step], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Database(f"sqlite:///{folder}/x.db") as db:
            store = EventStore(db)
            await store.open()
            model = Model()
            for step in steps:
                await take(store, step, model)
                topic = f"t{step.topic}"
                talk = await store.find(Talk, topic) or Talk(topic)
                assert (talk.said, talk.closed) == model.talk(topic)
            await assert_read(store, model, limit)
            async with Projector(store, Counts(), settings=ProjectorSettings(batch=limit)) as counts:
                await counts.reached(await store.last_position(), timeout_s=60.0)
                seen = await db.all(str, "SELECT words FROM counts_v1_seen ORDER BY number")
                assert seen == [model.read(person, words) for _, person, words in model.all if person]


async def assert_read(store: EventStore, model: Model, limit: int) -> None:
    """Read everything in parts of `limit`: all there is, once, in order."""
    read: list[tuple[str, str, str]] = []
    after = 0
    while part := await store.read(after=after, limit=limit):
        assert len(part) <= limit
        positions = [each.position for each in part]
        assert positions == sorted(set(positions))
        assert positions[0] > after
        after = positions[-1]
        for each in part:
            match each.event:
                case Said(topic=topic, person=person, words=words):
                    read.append((topic, person, words))
                case Closed(topic=topic):
                    read.append((topic, "", ""))
                case event:
                    assert isinstance(event, PersonErased)
    assert read == [(topic, person, model.read(person, words)) for topic, person, words in model.all]


@given(steps=STEPS, limit=st.sampled_from([7, 100, 1000]))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_read_is_what_was_saved_whatever_happened_between(steps: list[Step], limit: int):
    simulation.run(run(steps, limit), seed=None)
