"""Write-behind: durable when it is answered, saved in order of each key, and nothing is lost by a kill."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from archstone import world
from archstone.cache import Cache, CacheClosedError, Pace, WriteBehind, WriteBehindFullError
from archstone.cache.stores.memory import MemoryStore
from archstone.data import Database
from archstone.resilience import SettingsError


class Origin:
    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.saves: list[dict[str, int]] = []
        self.takes_s = 0.0
        self.refuses: set[str] = set()

    async def save(self, values) -> None:
        await asyncio.sleep(self.takes_s)
        if self.refuses & values.keys():
            raise OSError("refused")
        self.saves.append(dict(values))
        self.values |= values

    async def load(self, key):
        return self.values.get(key, 0)


@pytest.fixture
def origin():
    return Origin()


@pytest.fixture
async def buffer(tmp_path):
    async with Database(f"sqlite:///{tmp_path / 'buffer.db'}") as buffer:
        yield buffer


@pytest.fixture
async def cache():
    async with Cache() as cache:
        yield cache


def behind_of(cache, buffer, origin, **pace):
    return WriteBehind(cache, buffer, origin.save, int, name="n", pace=Pace(**pace))


async def test_readers_have_it_at_once_and_the_origin_within_its_time(cache, buffer, origin):
    async with behind_of(cache, buffer, origin, every_s=1) as behind:
        await behind.put("a", 1)
        assert await cache.get("a", int) == 1
        assert origin.values == {}
        await asyncio.sleep(1.1)
        assert origin.values == {"a": 1}
        assert (behind.statistics().pending, behind.statistics().saved) == (0, 1)
        assert await buffer.all(int, "SELECT count(*) FROM _archstone_cache_behind") == [0]


async def test_values_of_a_key_are_coalesced_and_keep_their_order(cache, buffer, origin):
    async with behind_of(cache, buffer, origin, every_s=1) as behind:
        await asyncio.gather(*(behind.put("a", value) for value in range(50)), behind.put("b", 7))
        await asyncio.sleep(1.1)
        assert origin.saves == [{"a": 49, "b": 7}]
        assert await cache.get("a", int) == 49
        assert behind.statistics().coalesced == 49


class Unsteady(MemoryStore):
    """Each write takes less time than the one before."""

    left_s = 1.0

    async def write(self, writes):
        self.left_s /= 2
        await asyncio.sleep(self.left_s)
        await super().write(writes)


async def test_readers_get_the_last_of_puts_at_once_whatever_the_store_of_the_cache_does(buffer, origin):
    async with Cache(Unsteady()) as cache, behind_of(cache, buffer, origin, every_s=60) as behind:
        await asyncio.gather(*(behind.put("a", value) for value in range(5)))
        assert await cache.get("a", int) == 4


async def test_a_put_while_its_key_is_saved_is_saved_afterwards(cache, buffer, origin):
    origin.takes_s = 1
    async with behind_of(cache, buffer, origin, every_s=0.1) as behind:
        await behind.put("a", 1)
        await asyncio.sleep(0.5)
        await behind.put("a", 2)
        await asyncio.sleep(3)
    assert origin.saves == [{"a": 1}, {"a": 2}]


async def test_what_waits_is_read_also_when_the_cache_has_forgotten_it(cache, buffer, origin):
    async with behind_of(cache, buffer, origin, every_s=100) as behind:
        await behind.put("a", 1)
        await cache.delete("a")
        assert await behind.load("a", lambda: origin.load("a")) == 1
        assert await behind.load("b", lambda: origin.load("b")) == 0


async def test_one_that_cannot_be_saved_holds_up_no_other_and_is_tried_again(cache, buffer, origin):
    origin.refuses = {"bad"}
    async with behind_of(cache, buffer, origin, every_s=1) as behind:
        for key in ("a", "bad", "b"):
            await behind.put(key, 1)
        await asyncio.sleep(1.5)
        assert origin.values == {"a": 1, "b": 1}
        origin.refuses = set()
        await asyncio.sleep(5)
        assert origin.values == {"a": 1, "b": 1, "bad": 1}
        assert behind.statistics().failed >= 2


async def test_when_too_many_wait_put_waits_and_is_then_refused(cache, buffer, origin):
    origin.takes_s = 3
    async with behind_of(cache, buffer, origin, every_s=1, max_pending=2, wait_s=5, batch=2) as behind:
        begun = world.monotonic()
        await behind.put("a", 1)
        await behind.put("b", 1)
        await behind.put("c", 1)
        assert world.monotonic() - begun >= 3
        await behind.put("c", 2)  # its key waits already
        origin.refuses = {"a", "b", "c", "d"}
        await behind.put("d", 1)
        with pytest.raises(WriteBehindFullError, match="2 values wait"):
            await behind.put("e", 1)
        origin.refuses = set()


async def test_closing_saves_the_rest(cache, buffer, origin):
    async with behind_of(cache, buffer, origin, every_s=100, batch=3) as behind:
        for number in range(10):
            await behind.put(f"k{number}", number)
        assert origin.values == {} or len(origin.saves) <= 4
    assert origin.values == {f"k{number}": number for number in range(10)}
    with pytest.raises(CacheClosedError):
        await behind.put("a", 1)


async def test_what_closing_had_no_time_for_is_saved_after_the_next_start(cache, buffer, origin):
    origin.takes_s = 60
    async with behind_of(cache, buffer, origin, every_s=100, drain_s=1) as behind:
        await behind.put("a", 1)
        await behind.put("a", 2)
    assert origin.values == {}
    origin.takes_s = 0
    async with behind_of(cache, buffer, origin) as behind:
        assert await behind.load("a", lambda: origin.load("a")) == 2
        await asyncio.sleep(1.1)
        assert origin.values == {"a": 2}


async def test_a_put_whose_caller_is_cancelled_is_whole(cache, buffer, origin):
    async with behind_of(cache, buffer, origin, every_s=1) as behind:
        task = asyncio.create_task(behind.put("a", 1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(1.5)
        assert origin.values == {"a": 1}
        assert await buffer.all(int, "SELECT count(*) FROM _archstone_cache_behind") == [0]


def test_a_pace_that_cannot_be_is_refused():
    with pytest.raises(SettingsError, match=r"every_s=0 must be above 0; batch=0 must be at least 1"):
        Pace(every_s=0, batch=0)


def killed(folder: Path, **environment: str) -> dict[str, int]:
    """Run the child till it is killed, by itself or by us; return the last answered value of each key."""
    command = [sys.executable, str(Path(__file__).with_name("cache_behind_child.py")), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment) as child:
        answered: dict[str, int] = {}
        for count, line in enumerate(child.stdout):
            if line.endswith("\n"):
                key, value = line.split()
                answered[key] = int(value)
            if count == 600 and not environment:
                child.kill()
    assert child.returncode == -9
    return answered


def saved(folder: Path) -> list[tuple[str, int]]:
    lines = (folder / "origin").read_text().splitlines() if (folder / "origin").exists() else []
    return [(key, int(value)) for key, value in (line.split() for line in lines)]


@pytest.mark.parametrize("point", ["", "cache.after_save:1", "cache.after_save:3"])
@pytest.mark.real_time
async def test_killed_anywhere_nothing_that_was_answered_is_lost_and_keys_keep_their_order(tmp_path, point):
    answered = killed(tmp_path, **({"ARCHSTONE_CRASH": point} if point else {}))
    assert answered or point
    before = saved(tmp_path)

    async def save(values):
        with (tmp_path / "origin").open("a") as origin:
            origin.writelines(f"{key} {value}\n" for key, value in values.items())

    async with Database(f"sqlite:///{tmp_path / 'buffer.db'}") as buffer, Cache() as cache:
        async with WriteBehind(cache, buffer, save, int, name="n"):
            pass
        assert await buffer.all(int, "SELECT count(*) FROM _archstone_cache_behind") == [0]
    after = saved(tmp_path)
    last = dict(after)
    assert {key: value for key, value in answered.items() if last.get(key, -1) < value} == {}
    for key in last:
        values = [value for name, value in after if name == key]
        assert values == sorted(values)
    assert len(after) > len(before)
