"""What was invalidated is wrong for good, and a load begun before does not bring it back."""

# ruff: noqa: D102 - the name of a test is its sentence

import asyncio

from archstone.cache.store import Store
from archstone.cache.testing.suite import Suite, fresh_key, text

__all__ = ["InvalidatingConformance"]


class InvalidatingConformance(Suite):
    """Keys and tags."""

    async def test_an_invalidated_key_is_absent_for_everybody(self, store: Store, other: Store) -> None:
        key, kept = fresh_key("k"), fresh_key("k")
        await store.write({key: text("a"), kept: text("b")})
        assert await self.value(other, key) == "a"
        await store.invalidate(keys=(key,))
        assert await self.value(store, key) is None
        assert await self.value(store, kept) == "b"

    async def test_a_tag_makes_all_that_carry_it_wrong_and_nothing_else(self, store: Store, other: Store) -> None:
        tag, another = fresh_key("t"), fresh_key("t")
        a, b, c, d = (fresh_key(word) for word in "abcd")
        await store.write({a: text("a", tags=(tag,)), b: text("b", tags=(another, tag))})
        await store.write({c: text("c", tags=(another,)), d: text("d")})
        await other.invalidate(tags=(tag,))
        assert [await self.value(other, key) for key in (a, b, c, d)] == [None, None, "c", "d"]

    async def test_what_is_written_afterwards_is_right(self, store: Store, other: Store) -> None:
        tag, key = fresh_key("t"), fresh_key("k")
        await store.invalidate(tags=(tag,))
        await store.write({key: text("a", tags=(tag,))})
        assert await self.value(other, key) == "a"
        await store.invalidate(tags=(tag,))
        assert await self.value(store, key) is None

    async def test_a_stale_entry_that_was_invalidated_is_not_served_either(self, store: Store) -> None:
        tag, key = fresh_key("t"), fresh_key("k")
        await store.write({key: text("a", fresh_s=self.unit_s, keep_s=100 * self.unit_s, tags=(tag,))})
        await self.pass_time(2)
        await store.invalidate(tags=(tag,))
        assert await self.find(store, key) is None

    async def test_a_load_begun_before_a_tag_moved_is_not_kept(self, store: Store, other: Store) -> None:
        tag, key = fresh_key("t"), fresh_key("k")
        lease = await self.lease(store, key)
        await other.invalidate(tags=(tag,))
        assert not await store.fill(lease, text("old", tags=(tag,)))
        assert await self.value(store, key) is None
        assert await store.fill(await self.lease(store, key), text("new", tags=(tag,)))
        assert await self.value(other, key) == "new"

    async def test_a_load_begun_before_its_key_was_invalidated_is_not_kept(self, store: Store, other: Store) -> None:
        key = fresh_key("k")
        lease = await self.lease(store, key)
        await other.invalidate(keys=(key,))
        assert not await store.fill(lease, text("old"))
        assert await self.value(store, key) is None

    async def test_a_load_is_kept_when_other_tags_move(self, store: Store) -> None:
        tag, key = fresh_key("t"), fresh_key("k")
        lease = await self.lease(store, key)
        await store.invalidate(tags=(fresh_key("t"),), keys=(fresh_key("k"),))
        assert await store.fill(lease, text("a", tags=(tag,)))
        assert await self.value(store, key) == "a"

    async def test_a_refused_fill_leaves_what_is_there(self, store: Store) -> None:
        tag, key = fresh_key("t"), fresh_key("k")
        await store.write({key: text("a")})
        lease = await self.lease(store, key, refresh=True)
        await store.invalidate(tags=(tag,))
        assert not await store.fill(lease, text("b", tags=(tag,)))
        assert await self.value(store, key) == "a"
        await self.lease(store, key, refresh=True)

    async def test_keys_and_tags_go_together(self, store: Store) -> None:
        tag, a, b = fresh_key("t"), fresh_key("a"), fresh_key("b")
        await store.write({a: text("a", tags=(tag,)), b: text("b")})
        await store.invalidate(keys=(b,), tags=(tag, fresh_key("t")))
        assert (await self.value(store, a), await self.value(store, b)) == (None, None)

    async def test_of_loads_and_invalidations_in_any_order_no_old_value_stays(self, store: Store, other: Store) -> None:
        tag, key = fresh_key("t"), fresh_key("k")
        truth = 0

        async def load(through: Store) -> None:
            lease = await self.lease(through, key, refresh=True)
            seen = truth
            for _ in range(seen % 3):
                await asyncio.sleep(0)
            await through.fill(lease, text(str(seen), tags=(tag,)))

        for turn in range(12):
            loading = asyncio.create_task(load((store, other)[turn % 2]))
            for _ in range(turn % 4):
                await asyncio.sleep(0)
            truth += 1
            await (other, store)[turn % 2].invalidate(tags=(tag,))
            assert await self.value(store, key) in {None, str(truth)}
            await loading
            assert await self.value(store, key) in {None, str(truth)}
