"""What a store's limits must do."""

# ruff: noqa: D102 - the name of a test is its sentence

import asyncio
from typing import ClassVar

from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.store import Store, Taken
from archstone.resilience.testing.suite import Suite

__all__ = ["LimitConformance"]

Stores = tuple[Store, Store]


async def takes(store: Store, name: str, policy: RateLimit, key: str = "ann", *, cost: float = 1.0) -> Taken:
    return await store.take(name, policy, key, cost, policy.max_wait_s)


class LimitConformance(Suite):
    """Takes by key."""

    slack: ClassVar[float] = 1.001
    """A wait of so many times what was told must be enough."""

    async def test_a_rested_key_may_take_its_burst_and_no_more(self, stores: Stores) -> None:
        name, policy = self.new_name(), RateLimit(0.01 / self.unit_s, burst=5)
        answers = [(await takes(stores[0], name, policy)).taken for _ in range(7)]
        assert answers == [True] * 5 + [False] * 2

    async def test_two_users_of_the_same_state_share_a_limit(self, stores: Stores) -> None:
        name, policy = self.new_name(), RateLimit(0.01 / self.unit_s, burst=5)
        answers = [(await takes(stores[at % 2], name, policy)).taken for at in range(8)]
        assert answers == [True] * 5 + [False] * 3

    async def test_many_who_come_at_once_get_the_burst_together(self, stores: Stores) -> None:
        name, policy = self.new_name(), RateLimit(0.01 / self.unit_s, burst=50)
        answers = await asyncio.gather(*[takes(stores[at % 2], name, policy) for at in range(300)])
        assert sum(answer.taken for answer in answers) == 50

    async def test_names_and_keys_do_not_share(self, stores: Stores) -> None:
        name, policy = self.new_name(), RateLimit(0.01 / self.unit_s)
        assert (await takes(stores[0], name, policy, "ann")).taken
        assert (await takes(stores[0], name, policy, "bob")).taken
        assert (await takes(stores[0], self.new_name(), policy, "ann")).taken
        assert not (await takes(stores[0], name, policy, "ann")).taken

    async def test_whoever_waits_as_long_as_was_told_is_let_in_and_not_sooner(self, stores: Stores) -> None:
        name, policy = self.new_name(), RateLimit(0.2 / self.unit_s, burst=2)
        assert (await takes(stores[0], name, policy, cost=2)).taken
        refused = await takes(stores[1], name, policy)
        assert not refused.taken
        assert (4.999 if self.exact_time else 1) * self.unit_s < refused.wait_s <= 5.01 * self.unit_s
        await self.pass_time(0.5 * refused.wait_s / self.unit_s)
        refused = await takes(stores[0], name, policy)
        assert not refused.taken
        await self.pass_time(self.slack * refused.wait_s / self.unit_s)
        assert (await takes(stores[0], name, policy)).taken

    async def test_a_refused_take_costs_nothing(self, stores: Stores) -> None:
        name, policy = self.new_name(), RateLimit(0.5 / self.unit_s, burst=1)
        await takes(stores[0], name, policy)
        first = await takes(stores[0], name, policy)
        last = [await takes(stores[1], name, policy) for _ in range(20)][-1]
        assert not last.taken
        assert last.wait_s <= first.wait_s

    async def test_a_cost_is_taken_whole(self, stores: Stores) -> None:
        name, policy = self.new_name(), RateLimit(0.01 / self.unit_s, burst=5)
        answers = [(await takes(stores[0], name, policy, cost=2)).taken for _ in range(3)]
        assert answers == [True, True, False]
        assert (await takes(stores[0], name, policy, cost=1)).taken

    async def test_a_line_gives_turns_one_after_another_and_ends(self, stores: Stores) -> None:
        name, policy = self.new_name(), RateLimit(0.1 / self.unit_s, max_wait_s=35 * self.unit_s)
        answers = [await takes(stores[at % 2], name, policy) for at in range(6)]
        assert [answer.taken for answer in answers] == [True] * 4 + [False] * 2
        waits = [answer.wait_s / self.unit_s for answer in answers[:4]]
        soonest = 10 if self.exact_time else 5  # what has passed since the first is not waited for again
        assert all(0.999 * soonest * at <= wait <= 10.01 * at for at, wait in enumerate(waits))

    async def test_a_window_holds_so_many_and_fades_in_the_next(self, stores: Stores) -> None:
        name, policy = self.new_name(), RateLimit.sliding_window(4, seconds=20 * self.unit_s)
        answers = [(await takes(stores[at % 2], name, policy)).taken for at in range(6)]
        # They may lie on a border of windows, where a part of the first has faded.
        assert answers[:4] == [True] * 4
        refused = await takes(stores[0], name, policy)
        assert not refused.taken
        assert 0 < refused.wait_s <= 40 * self.unit_s
        await self.pass_time(self.slack * refused.wait_s / self.unit_s)
        assert (await takes(stores[1], name, policy)).taken
        await self.pass_time(41)
        assert [(await takes(stores[0], name, policy)).taken for _ in range(4)] == [True] * 4

    async def test_a_full_window_fades_evenly_in_the_next(self, stores: Stores) -> None:
        self.need_exact_time()
        name, policy = self.new_name(), RateLimit.sliding_window(4, seconds=20 * self.unit_s)
        assert [(await takes(stores[at % 2], name, policy)).taken for at in range(5)] == [True] * 4 + [False]
        # In the next window the four count less and less: a quarter of it later each makes room for one more.
        for at in range(4):
            refused = await takes(stores[at % 2], name, policy)
            assert not refused.taken
            if at:
                assert 4.99 * self.unit_s <= refused.wait_s <= 5.01 * self.unit_s
            await self.pass_time(0.99 * refused.wait_s / self.unit_s)
            assert not (await takes(stores[0], name, policy)).taken
            await self.pass_time(0.01 * refused.wait_s / self.unit_s)
            assert (await takes(stores[1], name, policy)).taken
