"""Entries are kept as they were given, for as long as they may be."""

# ruff: noqa: D102 - the name of a test is its sentence

from archstone.cache.codec import BYTES, TypedCodec
from archstone.cache.store import Store, Write
from archstone.cache.testing.suite import CODEC, Suite, fresh_key, text

__all__ = ["KeepingConformance"]


class KeepingConformance(Suite):
    """Reading and writing."""

    async def test_what_was_written_is_read_by_everybody(self, store: Store, other: Store) -> None:
        key = fresh_key("k")
        await store.write({key: text("a", fresh_s=60, keep_s=90, tags=("t",))})
        entry = await self.find(other, key)
        assert entry is not None
        assert (entry.value, entry.tags) == ("a", ("t",))
        assert (round(entry.fresh_s, 3), round(entry.keep_s, 3), round(entry.soon_s, 3)) == (60, 90, 60)

    async def test_an_absent_key_has_none_and_many_come_in_their_order(self, store: Store) -> None:
        a, b, c = fresh_key("a"), fresh_key("b"), fresh_key("c")
        await store.write({a: text("a"), c: text("c")})
        found = await store.read((c, b, a, c), CODEC)
        assert [entry and entry.value for entry in found] == ["c", None, "a", "c"]

    async def test_no_keys_give_no_entries(self, store: Store) -> None:
        assert await store.read((), CODEC) == []
        await store.write({})

    async def test_a_later_value_takes_the_place_of_an_earlier(self, store: Store, other: Store) -> None:
        key = fresh_key("k")
        await store.write({key: text("old", tags=("t",))})
        await other.write({key: text("new")})
        entry = await self.find(store, key)
        assert entry is not None
        assert (entry.value, entry.tags) == ("new", ())

    async def test_it_ages_by_the_clock_of_the_store(self, store: Store) -> None:
        key = fresh_key("k")
        await store.write({key: text("a")._replace(age_s=self.unit_s)})
        await self.pass_time(1)
        entry = await self.find(store, key)
        assert entry is not None
        assert 2 * self.unit_s <= entry.age_s < 50 * self.unit_s

    async def test_past_its_freshness_it_is_read_until_it_may_not_be_kept(self, store: Store) -> None:
        key = fresh_key("k")
        await store.write({key: text("a", fresh_s=self.unit_s, keep_s=20 * self.unit_s)})
        await self.pass_time(2)
        entry = await self.find(store, key)
        assert entry is not None
        assert entry.age_s > entry.fresh_s
        await self.pass_time(19)
        assert await self.find(store, key) is None

    async def test_bytes_and_none_and_any_text_come_back_as_they_were(self, store: Store) -> None:
        raw, none, odd = fresh_key("raw"), fresh_key("none"), fresh_key("ключ {1}:\n")
        await store.write({raw: Write(b"\x00\xff\n{}", BYTES), odd: text("é\x00\n", tags=("ü {x}\n", "a,b"))})
        await store.write({none: Write(None, TypedCodec(str | None))})
        assert [entry and entry.value for entry in await store.read((raw,), BYTES)] == [b"\x00\xff\n{}"]
        (found,) = await store.read((none,), TypedCodec(str | None))
        assert found is not None
        assert found.value is None
        entry = await self.find(store, odd)
        assert entry is not None
        assert (entry.value, entry.tags) == ("é\x00\n", ("ü {x}\n", "a,b"))
