"""One loads, the others wait; who lost the right cannot write."""

# ruff: noqa: D102 - the name of a test is its sentence

from archstone.cache.store import Busy, Entry, Store
from archstone.cache.testing.suite import CODEC, Suite, fresh_key, text

__all__ = ["LeasingConformance"]


class LeasingConformance(Suite):
    """Claim, fill and release."""

    async def test_one_may_load_and_the_others_hear_how_long(self, store: Store, other: Store) -> None:
        key = fresh_key("k")
        await self.lease(store, key, units=100)
        claim = await other.claim(key, CODEC, lease_s=self.unit_s)
        assert isinstance(claim, Busy)
        assert 0 < claim.left_s <= 100 * self.unit_s

    async def test_what_was_filled_is_claimed_by_everybody(self, store: Store, other: Store) -> None:
        key = fresh_key("k")
        assert await store.fill(await self.lease(store, key), text("a", tags=("t",)))
        claim = await other.claim(key, CODEC, lease_s=self.unit_s)
        assert isinstance(claim, Entry)
        assert (claim.value, claim.tags) == ("a", ("t",))

    async def test_a_stale_entry_is_loaded_again(self, store: Store) -> None:
        key = fresh_key("k")
        await store.write({key: text("a", fresh_s=self.unit_s, keep_s=100 * self.unit_s)})
        await self.pass_time(2)
        assert await store.fill(await self.lease(store, key), text("b"))
        assert await self.value(store, key) == "b"

    async def test_a_refresh_gets_the_right_beside_a_fresh_entry(self, store: Store, other: Store) -> None:
        key = fresh_key("k")
        await store.write({key: text("a")})
        lease = await self.lease(store, key, refresh=True)
        assert isinstance(await other.claim(key, CODEC, lease_s=self.unit_s, refresh=True), Busy)
        assert isinstance(await other.claim(key, CODEC, lease_s=self.unit_s), Entry)
        assert await store.fill(lease, text("b"))
        assert await self.value(other, key) == "b"

    async def test_a_lease_fills_once(self, store: Store) -> None:
        key = fresh_key("k")
        lease = await self.lease(store, key)
        assert await store.fill(lease, text("a"))
        assert not await store.fill(lease, text("b"))
        assert await self.value(store, key) == "a"

    async def test_what_was_released_is_free(self, store: Store, other: Store) -> None:
        key = fresh_key("k")
        lease = await self.lease(store, key)
        await store.release(lease)
        later = await self.lease(other, key)
        assert not await store.fill(lease, text("late"))
        await store.release(lease)
        assert await other.fill(later, text("a"))

    async def test_after_its_time_another_takes_over_and_the_first_is_fenced(self, store: Store, other: Store) -> None:
        key = fresh_key("k")
        first = await self.lease(store, key, units=1)
        await self.pass_time(2)
        second = await self.lease(other, key)
        assert second.token > first.token
        assert not await store.fill(first, text("late"))
        await store.release(first)
        assert isinstance(await store.claim(key, CODEC, lease_s=self.unit_s), Busy)
        assert await other.fill(second, text("a"))
        assert not await store.fill(first, text("late"))
        assert await self.value(store, key) == "a"

    async def test_a_write_breaks_the_lease_of_its_key(self, store: Store, other: Store) -> None:
        key = fresh_key("k")
        lease = await self.lease(store, key)
        await other.write({key: text("new")})
        assert not await store.fill(lease, text("old"))
        assert await self.value(store, key) == "new"

    async def test_leases_of_different_keys_know_nothing_of_each_other(self, store: Store) -> None:
        a, b = await self.lease(store, fresh_key("a")), await self.lease(store, fresh_key("b"))
        assert await store.fill(b, text("b"))
        assert await store.fill(a, text("a"))
