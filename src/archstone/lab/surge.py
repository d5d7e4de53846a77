"""A surge: a base rate, then a multiple of it, then the base rate again, and a report of what held.

    python -m archstone.lab.surge < settings.json      # lines of JSON: what happens, then the report

It runs in a process of its own, so that neither a progress display nor anything else delays what is due.
"""

import asyncio
import contextlib
import gc
import importlib
import os
import platform
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any, Final, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field

from archstone import world
from archstone.errors import ArchstoneError, ConfigError
from archstone.lab.connection import Dial, Target, dialer
from archstone.lab.http import Http, LabError
from archstone.lab.prober import Probe
from archstone.lab.record import Record
from archstone.lab.report import Phase, report_of
from archstone.lab.sender import Limits, Sender
from archstone.lab.shot import Choosing, Load, ManyWays, Promising, Shot, Way

__all__ = ["SurgeSettings", "load_of", "phases_of", "run"]

_SHOTS_LIMIT: Final = 1_000_000
_TELL_EVERY_S: Final = 0.5
_KNOCK_S: Final = 5.0

Tell = Callable[[str, Any], None]
"""Takes the name of something that happened, and what there is to say about it."""


class SurgeSettings(BaseModel):
    """What to send, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    """Its name, for the report."""
    traffic: str
    """Module that has the load model as `load`."""
    url: str
    rps: float = Field(default=20.0, gt=0, le=100_000)
    """Requests a second before and after."""
    times: float = Field(default=100.0, ge=1, le=100_000)
    """How many times the base the surge is."""
    surge_s: int = Field(default=30, ge=1, le=3600)
    base_s: int = Field(default=10, ge=1, le=3600)
    recovery_s: int = Field(default=10, ge=2, le=3600)
    seed: int = 1
    connections: int = Field(default=256, ge=1, le=20_000)
    send_within_s: float = Field(default=1.0, gt=0)
    late_after_s: float = Field(default=1.0, gt=0)
    timeout_s: float = Field(default=10.0, gt=0)
    options: Mapping[str, str] = Field(default_factory=dict[str, str])
    """What is chosen about the load model, by name."""

    @property
    def limits(self) -> Limits:
        """Bounds of the sender."""
        return Limits(
            connections=self.connections,
            send_within_s=self.send_within_s,
            late_after_s=self.late_after_s,
            timeout_s=self.timeout_s,
        )


def phases_of(settings: SurgeSettings) -> tuple[Phase, Phase, Phase]:
    """Return base, surge and recovery."""
    surge_at, after_at = settings.base_s, settings.base_s + settings.surge_s
    return (
        Phase(name="base", from_s=0, to_s=surge_at, rate_per_s=settings.rps),
        Phase(name="surge", from_s=surge_at, to_s=after_at, rate_per_s=settings.rps * settings.times),
        Phase(name="recovery", from_s=after_at, to_s=after_at + settings.recovery_s, rate_per_s=settings.rps),
    )


def load_of(module: str) -> Load:
    """Return the load model of a module.

    Raises:
        ConfigError: there is none.
    """
    try:
        found = getattr(importlib.import_module(module), "load", None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        found = None
    if found is None:
        raise ConfigError(f"no load model: module {module} with an object `load` says what to send; see docs/surge.md")
    return cast("Load", found)


async def run(settings: SurgeSettings, load: Load, tell: Tell) -> dict[str, Any]:
    """Prepare, send, find out, and return the report.

    Raises:
        ConfigError: it would be more than a million requests.
        LabError: nobody listens there, or the system does not let itself be prepared.
    """
    phases = phases_of(settings)
    wanted = sum(phase.rate_per_s * len(phase.seconds) for phase in phases)
    if wanted > _SHOTS_LIMIT:
        raise ConfigError(f"{wanted:,.0f} requests, {_SHOTS_LIMIT:,} at most: lower --rps, --times or --for")
    _choose(load, settings.options)
    target = Target.of(settings.url)
    await _knock(dialer(target), settings.url)
    http = Http(dialer(target), target.authority)
    try:
        tell("phase", "prepare")
        peak = settings.rps * settings.times
        senders = await load.prepare(http, rate_per_s=peak, tell=lambda line: tell("note", line))
        shots = _shots(load, phases, settings.seed)
        record = Record()
        record.trail_from_s = phases[2].from_s
        async with _ways_of(load, settings.url) as ways:
            sender = Sender(
                dialer(target), host=target.authority, senders=senders, record=record, limits=settings.limits, ways=ways
            )
            at_us = world.now_us()
            async with _probing(settings.url) as probes:
                began_s = await _send(sender, shots, phases, record, tell)
            tell("phase", "settle")
            outcome = await load.settle(http, sender.kept)
    finally:
        http.close()
    about = {
        "system": settings.system,
        "at_us": at_us,
        "settings": settings.model_dump(mode="json"),
        "machine": _machine(),
        "outcome": dict(outcome),
        "never": [*load.never] if isinstance(load, Promising) else [],
    }
    return report_of(record, phases, probes, began_s=began_s, about=about)


def _choose(load: Load, options: Mapping[str, str]) -> None:
    if isinstance(load, Choosing):
        load.choose(options)
    elif options:
        raise ConfigError(f"--set {next(iter(options))}: nothing can be chosen about this load model")


def _ways_of(load: Load, url: str) -> AbstractAsyncContextManager[Mapping[str, Way]]:
    return load.ways(url) if isinstance(load, ManyWays) else contextlib.nullcontext({})


async def _knock(dial: Dial, url: str) -> None:
    """Open a connection once. What comes later is patient with a system that is busy or starts again."""
    try:
        async with asyncio.timeout(_KNOCK_S):
            line = await dial()
    except OSError as error:
        raise LabError(f"nobody listens at {url}: start the system, or say where it runs with --url") from error
    line.close()


def _shots(load: Load, phases: Sequence[Phase], seed: int) -> list[Shot]:
    shots: list[Shot] = []
    for phase in phases:
        chance = Random(f"{seed}/{phase.name}")
        found = load.shots(rate_per_s=phase.rate_per_s, duration_s=len(phase.seconds), chance=chance)
        shots += [shot._replace(at_s=shot.at_s + phase.from_s) for shot in found]
    return shots


async def _send(sender: Sender, shots: Sequence[Shot], phases: Sequence[Phase], record: Record, tell: Tell) -> float:
    """Send everything, with no collection of garbage meanwhile, and return when it began."""
    began: list[float] = []
    gc.collect()
    gc.freeze()
    gc.disable()
    sending = asyncio.ensure_future(sender.run(shots, began=began.append))
    try:
        while not sending.done():
            await asyncio.wait((sending,), timeout=_TELL_EVERY_S)
            if began:
                tell("progress", _progress(record, phases, world.monotonic() - began[0]))
        await sending
    finally:
        gc.enable()
        sending.cancel()
    return began[0]


def _progress(record: Record, phases: Sequence[Phase], at_s: float) -> Mapping[str, Any]:
    phase = next((phase for phase in phases if at_s < phase.to_s), phases[-1])
    last = max(0, int(at_s) - 1)
    cell = record.sum((last,))
    return {
        "phase": phase.name,
        "at_s": round(at_s, 1),
        "to_s": phases[-1].to_s,
        "rate_per_s": phase.rate_per_s,
        "served": cell.served.count,
        "p95": cell.served.figures_ms()["p95"],
        "shed": cell.outcomes["shed"] + cell.outcomes["shed_mute"],
        "limited": cell.outcomes["limited"],
    }


@asynccontextmanager
async def _probing(url: str) -> AsyncGenerator[list[Probe]]:
    """Run the prober for the block; what it saw is in the list afterwards."""
    probes: list[Probe] = []
    pipe = asyncio.subprocess.PIPE
    prober = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "archstone.lab.prober", url, stdin=pipe, stdout=pipe
    )
    try:
        yield probes
        said, _ = await prober.communicate(b"")  # an empty input ends it
        if prober.returncode:
            raise LabError(f"the prober of {url} ended with {prober.returncode}; its last words are above")
        probes += [Probe(*each) for each in orjson.loads(said)]
    finally:
        with contextlib.suppress(ProcessLookupError):
            if prober.returncode is None:
                prober.kill()
                await prober.wait()


def _machine() -> Mapping[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _say(name: str, what: object) -> None:
    sys.stdout.buffer.write(orjson.dumps({name: what}) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Read settings from the input, and print what happens as lines of JSON, the report last."""
    try:
        settings = SurgeSettings.model_validate_json(sys.stdin.buffer.read())
        if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - sys.path holds texts
            sys.path.insert(0, here)
        import uvloop  # noqa: PLC0415 - not on every system

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report = runner.run(run(settings, load_of(settings.traffic), _say))
        _say("report", report)
    except ArchstoneError as error:
        _say("error", str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
