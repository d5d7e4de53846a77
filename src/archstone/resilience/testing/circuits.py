"""What a store's circuits must do."""

# ruff: noqa: D102 - the name of a test is its sentence

import asyncio
import math

from archstone.resilience.breaker import Breaker, Ratio
from archstone.resilience.circuitstate import Outcome, StateName
from archstone.resilience.store import Begun, Store
from archstone.resilience.testing.suite import Suite

__all__ = ["CircuitConformance"]

Stores = tuple[Store, Store]
WORKED, FAILED, NEITHER = Outcome.WORKED, Outcome.FAILED, Outcome.NEITHER


async def call(store: Store, name: str, policy: Breaker, outcome: int) -> Begun:
    begun = await store.begin(name, policy)
    if begun.refused is None:
        await store.end(name, policy, begun.epoch, outcome)
    return begun


async def state(store: Store, name: str, policy: Breaker) -> StateName:
    return (await store.look(name, policy))[0].name


class CircuitConformance(Suite):
    """Circuits by name."""

    def breaker(self, failures: int | Ratio = 2, *, open_s: float = 4.0, trials: int = 1) -> Breaker:
        return Breaker(failures, open_s=open_s * self.unit_s, trials=trials)

    async def test_failures_in_a_row_open_it_for_all_who_share_it(self, stores: Stores) -> None:
        name, policy = self.new_name(), self.breaker(3)
        for at, outcome in enumerate((FAILED, FAILED, WORKED, FAILED, NEITHER, FAILED)):
            assert (await call(stores[at % 2], name, policy, outcome)).refused is None
        assert await state(stores[0], name, policy) == "closed"
        begun = await stores[1].begin(name, policy)
        assert await stores[1].end(name, policy, begun.epoch, FAILED) == "open"
        for store in stores:
            refused = (await store.begin(name, policy)).refused
            assert refused is not None
            assert (refused.reason, 0 < refused.retry_after_s <= 4 * self.unit_s) == ("open", True)
        assert (await stores[0].begin(self.new_name(), policy)).refused is None

    async def test_after_its_time_exactly_its_trials_are_let_through(self, stores: Stores) -> None:
        name, policy = self.new_name(), self.breaker(1, trials=3)
        await call(stores[0], name, policy, FAILED)
        await self.pass_time(4.1)
        begun = await asyncio.gather(*[stores[at % 2].begin(name, policy) for at in range(40)])
        let = [one for one in begun if one.refused is None]
        assert len(let) == 3
        assert [one.moved for one in let if one.moved] == ["half open"]
        refused = [one.refused for one in begun if one.refused]
        assert {one.reason for one in refused} == {"half open"}
        assert all(0 < one.retry_after_s <= min(1.0, 4 * self.unit_s) for one in refused)
        moves = [await stores[at % 2].end(name, policy, one.epoch, WORKED) for at, one in enumerate(let)]
        assert moves == [None, None, "closed"]

    async def test_a_trial_that_fails_opens_it_again(self, stores: Stores) -> None:
        name, policy = self.new_name(), self.breaker(1, trials=2)
        await call(stores[0], name, policy, FAILED)
        await self.pass_time(4.1)
        trial = await stores[1].begin(name, policy)
        assert await stores[0].end(name, policy, trial.epoch, FAILED) == "open"
        assert (await stores[1].begin(name, policy)).refused is not None

    async def test_a_trial_that_counts_as_neither_gives_its_place_back(self, stores: Stores) -> None:
        name, policy = self.new_name(), self.breaker(1)
        await call(stores[0], name, policy, FAILED)
        await self.pass_time(4.1)
        assert (await call(stores[0], name, policy, NEITHER)).refused is None
        assert await state(stores[1], name, policy) == "half open"
        assert (await call(stores[1], name, policy, WORKED)).refused is None
        assert await state(stores[0], name, policy) == "closed"

    async def test_trials_whose_process_has_died_give_way(self, stores: Stores) -> None:
        name, policy = self.new_name(), self.breaker(1)
        await call(stores[0], name, policy, FAILED)
        await self.pass_time(4.1)
        dead = await stores[0].begin(name, policy)
        assert (await stores[1].begin(name, policy)).refused is not None
        await self.pass_time(4.1)
        assert (await call(stores[1], name, policy, WORKED)).refused is None
        assert await stores[0].end(name, policy, dead.epoch, FAILED) is None  # it was only slow, and comes too late
        assert await state(stores[0], name, policy) == "closed"

    async def test_a_result_of_an_earlier_state_changes_nothing(self, stores: Stores) -> None:
        name, policy = self.new_name(), self.breaker(1)
        early = await stores[0].begin(name, policy)
        await call(stores[1], name, policy, FAILED)
        for outcome in (WORKED, FAILED, NEITHER):
            assert await stores[0].end(name, policy, early.epoch, outcome) is None
        assert await state(stores[0], name, policy) == "open"
        await stores[0].force(name, policy, None)
        assert await stores[0].end(name, policy, early.epoch, FAILED) is None
        assert await state(stores[1], name, policy) == "closed"

    async def test_it_is_opened_and_closed_by_hand(self, stores: Stores) -> None:
        name, policy = self.new_name(), self.breaker(1, open_s=0.5)
        await stores[0].force(name, policy, math.inf)
        await self.pass_time(2)
        refused = (await stores[1].begin(name, policy)).refused
        assert refused is not None
        assert refused.reason == "opened by hand"
        await stores[1].force(name, policy, None)
        assert (await call(stores[0], name, policy, WORKED)).refused is None
        await stores[0].force(name, policy, 2 * self.unit_s)
        assert (await stores[1].begin(name, policy)).refused is not None
        await self.pass_time(2.1)
        assert (await stores[1].begin(name, policy)).refused is None

    async def test_a_ratio_over_calls_forgets_the_oldest(self, stores: Stores) -> None:
        name, policy = self.new_name(), self.breaker(Ratio(0.5, over_calls=4, min_calls=4))
        for at, outcome in enumerate((FAILED, FAILED, WORKED, WORKED, WORKED, FAILED)):
            assert (await call(stores[at % 2], name, policy, outcome)).refused is None
        found = (await stores[0].look(name, policy))[0]
        assert (found.name, found.window.calls, found.window.failures) == ("closed", 4, 1)
        await call(stores[0], name, policy, FAILED)
        assert await state(stores[1], name, policy) == "open"

    async def test_a_ratio_over_time_forgets_what_is_older(self, stores: Stores) -> None:
        ratio = Ratio(0.5, over_s=20 * self.unit_s, min_calls=3)
        name, policy = self.new_name(), self.breaker(ratio)
        for store in stores:
            await call(store, name, policy, FAILED)
        await self.pass_time(21)
        await call(stores[0], name, policy, FAILED)
        assert await state(stores[1], name, policy) == "closed"
        for store in stores:
            await call(store, name, policy, FAILED)
        assert await state(stores[1], name, policy) == "open"

    async def test_a_ratio_over_time_holds_a_call_for_nine_tenths_of_it_at_least(self, stores: Stores) -> None:
        self.need_exact_time()
        for _ in range(8):
            name, policy = self.new_name(), self.breaker(Ratio(0.5, over_s=10 * self.unit_s, min_calls=2))
            await call(stores[0], name, policy, FAILED)
            await self.pass_time(9)
            assert (await call(stores[1], name, policy, FAILED)).refused is None
            assert await state(stores[0], name, policy) == "open"
            await self.pass_time(0.37)  # the next begins elsewhere within a tenth

    async def test_a_ratio_over_time_holds_a_call_no_longer_than_that(self, stores: Stores) -> None:
        self.need_exact_time()
        for _ in range(8):
            name, policy = self.new_name(), self.breaker(Ratio(0.5, over_s=10 * self.unit_s, min_calls=2))
            await call(stores[0], name, policy, FAILED)
            await self.pass_time(10)
            await call(stores[1], name, policy, FAILED)
            assert await state(stores[0], name, policy) == "closed"
            await self.pass_time(0.37)

    async def test_a_ratio_over_time_counts_what_is_in_it_and_forgets_the_rest_bit_by_bit(self, stores: Stores) -> None:
        self.need_exact_time()
        name, policy = self.new_name(), self.breaker(Ratio(0.5, over_s=10 * self.unit_s, min_calls=5))
        for at, outcomes in enumerate(((WORKED,) * 4, (FAILED, WORKED), (FAILED,), (FAILED,))):
            for outcome in outcomes:
                assert (await call(stores[at % 2], name, policy, outcome)).refused is None
            assert await state(stores[0], name, policy) == "closed"  # at most 3 of 8
            await self.pass_time(3)
        # Twelve have passed, and the first four calls are out: one more failure makes 4 of 5, and not 4 of 9.
        await call(stores[0], name, policy, FAILED)
        assert await state(stores[1], name, policy) == "open"

    async def test_neighbouring_tenths_of_a_window_leave_one_after_another(self, stores: Stores) -> None:
        self.need_exact_time()
        for _ in range(8):
            name, policy = self.new_name(), self.breaker(Ratio(0.5, over_s=10 * self.unit_s, min_calls=3))
            await call(stores[0], name, policy, FAILED)
            await self.pass_time(1)
            await call(stores[1], name, policy, FAILED)
            await self.pass_time(9)
            await call(stores[0], name, policy, FAILED)
            assert await state(stores[1], name, policy) == "closed"  # the first is out
            await call(stores[1], name, policy, FAILED)
            assert await state(stores[0], name, policy) == "open"  # the second is not
            await self.pass_time(0.37)

    async def test_the_time_of_an_open_circuit_and_of_its_trials_ends_at_its_instant(self, stores: Stores) -> None:
        self.need_exact_time()
        name, policy = self.new_name(), self.breaker(1)
        await call(stores[0], name, policy, FAILED)
        for _ in range(3):  # open, then half open with a trial that does not end, twice
            await self.pass_time(3.75)
            assert (await stores[1].begin(name, policy)).refused is not None
            await self.pass_time(0.25)
            assert (await stores[0].begin(name, policy)).refused is None
