"""The memory store against ten-line models: what it gives is never wrong, and it never holds more than it may."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from archstone import simulation, world
from archstone.cache.bounded import Bounded, Item
from archstone.cache.codec import TypedCodec
from archstone.cache.store import Lease, Write
from archstone.cache.stores.memory import MemoryStore

CODEC = TypedCodec(int)
KEYS = st.sampled_from("abcdef")
TAGS = st.lists(st.sampled_from("xyz"), max_size=2, unique=True).map(tuple)


class Tagged(RuleBasedStateMachine):
    """The model knows for each value ever written when it was loaded, and for each tag and key when it last moved.

    A value may be given if nothing that it depends on has moved since its load began, and it is not too old.
    """

    max_tags = 100
    max_entries = 100

    def __init__(self):
        super().__init__()
        self.stage = simulation.Stage(seed=0, limit_s=None)
        self.stage.__enter__()
        self.store = MemoryStore(max_tags=self.max_tags, max_entries=self.max_entries)
        self.stage.run(self.store.open())
        self.turn = 0
        self.moved: dict[str, int] = {}
        self.known: dict[str, tuple[int, float, tuple[str, ...], int]] = {}  # value, until, tags, begun
        self.leases: list[tuple[Lease, int]] = []

    def teardown(self):
        self.stage.__exit__(None, None, None)

    def run(self, work):
        self.turn += 1
        return self.stage.run(work)

    def now(self):
        return self.stage.loop.time()

    def right(self, key):
        """Return the value that may be given, or None."""
        value, until_s, tags, begun = self.known.get(key, (None, 0.0, (), 0))
        moved = any(self.moved.get(tag, -1) > begun for tag in tags) or self.moved.get(f"key {key}", -1) > begun
        return None if moved or self.now() >= until_s else value

    def write(self, tags):
        return Write(self.turn, CODEC, tags, 10.0, 20.0, 5.0)

    @rule(key=KEYS, tags=TAGS)
    def set(self, key, tags):
        write = self.write(tags)
        self.run(self.store.write({key: write}))
        self.moved[f"key {key}"] = self.turn - 1
        self.known[key] = (write.value, self.now() + 20, tags, self.turn)

    @rule(key=KEYS)
    def claim(self, key):
        came = self.run(self.store.claim(key, CODEC, lease_s=3.0, refresh=True))
        if isinstance(came, Lease):
            self.leases.append((came, self.turn))

    @precondition(lambda self: self.leases)
    @rule(tags=TAGS, which=st.integers(0, 100))
    def fill(self, tags, which):
        lease, begun = self.leases.pop(which % len(self.leases))
        write = self.write(tags)
        kept = self.run(self.store.fill(lease, write))
        overtaken = any(self.moved.get(name, -1) > begun for name in (*tags, f"key {lease.key}"))
        later = [other for other, _ in self.leases if other.key == lease.key and other.token > lease.token]
        assert not kept or not overtaken
        assert not kept or not later
        if kept:
            self.known[lease.key] = (write.value, self.now() + 20, tags, begun)

    @rule(key=KEYS)
    def invalidate_key(self, key):
        self.run(self.store.invalidate(keys=(key,)))
        self.moved[f"key {key}"] = self.turn

    @rule(tags=TAGS)
    def invalidate_tags(self, tags):
        self.run(self.store.invalidate(tags=tags))
        self.moved |= dict.fromkeys(tags, self.turn)

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds):
        import asyncio

        self.run(asyncio.sleep(seconds))

    @invariant()
    def what_it_gives_is_right(self):
        for key in "abcdef":
            right = self.right(key)
            peeked = self.store.peek(key)  # before `find`, which drops what is wrong
            assert peeked is None or peeked.value == right
            found = self.store.find(key)
            assert found is None or found.value == right
            if self.max_entries > 6 and self.max_tags > 3:
                assert (found is None) == (right is None)

    @invariant()
    def it_is_bounded(self):
        assert self.store.counts().entries <= self.max_entries
        assert len(self.store._moved) <= self.max_tags


class TaggedSmall(Tagged):
    """With room for next to nothing: it may forget, and is never wrong."""

    max_tags = 1
    max_entries = 3


Tagged.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TaggedSmall.TestCase.settings = Tagged.TestCase.settings
TestTagged = Tagged.TestCase
TestTaggedSmall = TaggedSmall.TestCase


class Weighed(Item):
    __slots__ = ()


def fill(bounded, key, weight=0):
    """Keep something under `key`, under which nothing is kept: what was let go comes back as itself."""
    item = bounded.admit(key, bounded.known.get(key))
    item.value, item.soon_s = key, 1.0
    bounded.reweigh(item, weight)
    return item


class Evicting(RuleBasedStateMachine):
    """What is in it was added and not dropped since; count and weight keep their bounds; hits are all accounted for."""

    def __init__(self):
        super().__init__()
        self.bounded = Bounded(Weighed, 5, 50)
        self.added: dict[str, Item] = {}
        self.hits = 0

    @rule(key=st.sampled_from("abcdefghijkl"), weight=st.integers(0, 60))
    def put(self, key, weight):
        item = self.bounded.kept(key)
        if item is not None:
            self.bounded.reweigh(item, weight)
        else:
            self.added[key] = fill(self.bounded, key, weight)

    @rule(key=st.sampled_from("abcdefghijkl"))
    def hit(self, key):
        if (item := self.bounded.kept(key)) is not None:
            item.hits += 1
            self.hits += 1

    @rule(key=st.sampled_from("abcdefghijkl"))
    def drop(self, key):
        if (item := self.bounded.kept(key)) is not None:
            self.bounded.drop(item)
            del self.added[key]

    @rule()
    def clear(self):
        self.bounded.clear()
        self.added.clear()

    @invariant()
    def bounds_hold_and_nothing_is_made_up(self):
        known = self.bounded.known
        kept = {key: item for key, item in known.items() if self.bounded.kept(key) is not None}
        assert len(kept) == self.bounded.count <= 5
        assert self.bounded.weight == sum(item.weight for item in kept.values()) <= 50
        assert all(self.added[key] is item for key, item in kept.items())
        ring = [item for item in self.bounded._ring if item is not None]
        window = [item for item in self.bounded._window if item.place == -1]
        assert sorted(item.key for item in ring + window) == sorted(kept)
        assert self.bounded.faded + sum(item.hits for item in known.values()) == self.hits

    @invariant()
    def what_was_let_go_is_empty_and_bounded(self):
        gone = [item for key, item in self.bounded.known.items() if self.bounded.kept(key) is None]
        assert all(item.value is item.write is None and item.soon_s == float("-inf") for item in gone)
        assert len(gone) <= len(self.bounded._past) <= 5 + 5 + 1


Evicting.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestEvicting = Evicting.TestCase


def ratio_of(trace, capacity=100):
    bounded, hits = Bounded(Weighed, capacity), 0
    for key in trace:
        if (item := bounded.kept(key)) is not None:
            item.hits += 1
            hits += 1
        else:
            fill(bounded, key)
    return hits / len(trace)


def lru_of(trace, capacity=100):
    kept, hits = {}, 0
    for key in trace:
        if key in kept:
            hits += 1
            del kept[key]
        kept[key] = None
        if len(kept) > capacity:
            del kept[next(iter(kept))]
    return hits / len(trace)


def popular(chance, count, names):
    weights = [1 / (n + 1) for n in range(len(names))]
    return chance.choices(names, weights, k=count)


def traces():
    chance = random.Random(3)
    names = [str(n) for n in range(10_000)]
    yield "zipf", popular(chance, 60_000, names)
    scanned: list[str] = []
    for scan in range(10):
        scanned += popular(chance, 5_000, names)
        scanned += [f"scan {scan} {n}" for n in range(1_000)]
    yield "scans", scanned
    shifting: list[str] = []
    for _ in range(6):
        chance.shuffle(names)
        shifting += popular(chance, 10_000, names)
    yield "shift", shifting


@pytest.mark.parametrize(("name", "trace"), list(traces()), ids=lambda value: value if isinstance(value, str) else "")
def test_it_hits_more_often_than_least_recently_used(name, trace):
    assert ratio_of(trace) > 1.1 * lru_of(trace)


def test_a_scan_larger_than_it_leaves_what_is_popular():
    chance = random.Random(1)
    names = [str(n) for n in range(80)]
    warm = chance.choices(names, k=4_000)
    bounded = Bounded(Weighed, 100)
    for key in [*warm, *(f"scan {n}" for n in range(5_000))]:
        if (item := bounded.kept(key)) is not None:
            item.hits += 1
        else:
            fill(bounded, key)
    assert sum(bounded.kept(name) is not None for name in names) > 70


def test_what_is_too_heavy_for_all_is_not_kept_and_others_stay():
    bounded = Bounded(Weighed, 10, 100)
    for key, weight in (("a", 10), ("b", 10), ("huge", 101)):
        fill(bounded, key, weight)
    assert bounded.kept("huge") is None
    assert bounded.weight <= 100


async def test_a_store_bounded_by_bytes_counts_values_keys_and_what_an_entry_costs():
    store = MemoryStore(max_bytes=1_000)
    await store.open()
    await store.write({"k": Write(7, CODEC)})
    assert store.counts() == (1, 402)
    for n in range(10):
        await store.write({f"k{n}": Write(n, CODEC)})
    entries, weight = store.counts()
    assert entries == 2
    assert weight is not None
    assert weight <= 1_000


def test_the_clock_is_that_of_the_world():
    with simulation.Stage(seed=0) as stage:

        async def read():
            return world.clock()() == world.monotonic()

        assert stage.run(read())
    assert world.clock()() <= world.monotonic() <= world.clock()()
