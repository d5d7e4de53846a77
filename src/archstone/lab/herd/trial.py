"""One scene with one defence: readers come when they are due, whatever became of those before them."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from archstone import world
from archstone.cache import BYTES, Cache
from archstone.errors import ArchstoneError
from archstone.lab.herd.defences import Defence, Load
from archstone.lab.herd.origin import OriginRecord
from archstone.lab.herd.scene import Scene
from archstone.lab.histogram import Histogram
from archstone.resilience import within

__all__ = ["HerdOrigin", "Trial", "run_trial"]


class HerdOrigin(Protocol):
    """Where values come from, in this process or in another."""

    async def begin(self) -> None:
        """Count from now on."""
        ...

    async def load(self, key: str) -> bytes:
        """Return the value of `key`; any OSError if that does not work."""
        ...

    async def end(self) -> OriginRecord:
        """Return what was seen since `begin`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of one scene with one defence."""

    defence: Defence
    origin: OriginRecord
    took: Histogram = field(default_factory=Histogram)
    """From when a read was due to its value."""
    failed: Counter[str] = field(default_factory=Counter[str])
    """Reads without a value, by the name of the error."""

    def as_json(self) -> Mapping[str, Any]:
        """Return the figures; times are milliseconds."""
        return {
            "defence": self.defence.name,
            "about": self.defence.about,
            "reads": self.took.count + self.failed.total(),
            "failed": self.failed.total(),
            "errors": dict(sorted(self.failed.items())),
            "loads_per_key": round(self.origin.loads / self.origin.keys, 2) if self.origin.keys else 0.0,
            **self.took.figures_ms(),
            **self.origin.as_json(),
        }


async def run_trial(scene: Scene, defence: Defence, origin: HerdOrigin, *, seed: int) -> Trial:
    """Run `scene` with `defence` before `origin`. On virtual time the same seed gives the same trial."""
    async with defence.cache(scene) as cache:
        if not scene.cold:
            await _warm(cache, scene)
        trial = Trial(defence=defence, origin=_NOTHING)
        await origin.begin()
        await _send(scene, defence.reader(cache, origin.load, scene), trial, seed)
        return replace(trial, origin=await origin.end())


_NOTHING = OriginRecord(loads=0, keys=0, wasted=0, peak=0, held=())


async def _warm(cache: Cache, scene: Scene) -> None:
    """Put all values in, as old as they are when the scene begins."""
    for key in scene.names():
        if (write := cache.life.write(key.encode(), BYTES, tags=(), load_s=scene.load_s)) is not None:
            await cache.store.write({key: write._replace(age_s=scene.warm_age_s)})


async def _send(scene: Scene, read: Load, trial: Trial, seed: int) -> None:
    began_s = world.monotonic()
    async with asyncio.TaskGroup() as readers:
        for at_s, key in scene.arrivals(seed):
            due_s = began_s + at_s
            if (early_s := due_s - world.monotonic()) > 0:
                await asyncio.sleep(early_s)
            readers.create_task(_read(scene, read, key, due_s, trial))


async def _read(scene: Scene, read: Load, key: str, due_s: float, trial: Trial) -> None:
    try:
        async with within(scene.patience_s, name="a reader"):
            await read(key)
    except (ArchstoneError, OSError) as error:
        trial.failed[type(error).__name__] += 1
    else:
        trial.took.add(world.monotonic() - due_s)
