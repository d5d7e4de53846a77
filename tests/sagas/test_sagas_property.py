"""Random sagas that fail and crash at random, against a model of ten lines."""

import asyncio
import contextlib
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from saga_cast import NoneLeft, lost, opened

from archstone import world
from archstone.resilience import Exponential, Retry
from archstone.sagas import SagaSettings, StepFailedError, Steps, current_step, saga

OUTSIDE = {f"sagas.after_{what}" for what in ("burial", "claim", "fork", "let_out", "rest", "signal")}
"""Points that no saga of this machine passes in its own task."""
POINTS = sorted(name for name in world.crash_points() if name.startswith("sagas.") and name not in OUTSIDE)
STEPS = ("works", "flaky", "refuses", "breaks", "slow", "child", "told")
QUICK = Retry(3, backoff=Exponential(0.001, cap_s=0.001), on=(Exception,))

programs = st.tuples(
    st.lists(st.sampled_from(STEPS), max_size=4),
    st.lists(st.lists(st.sampled_from(STEPS), min_size=1, max_size=3), max_size=2),
)
crashes = st.lists(st.tuples(st.sampled_from(POINTS), st.integers(1, 4)), max_size=5)


class Machine:
    """Does what a program says: a sequence of steps, then branches at the same time."""

    def __init__(self, program) -> None:
        self.program = program
        self.log: list[tuple[str, str]] = []
        self.tries: dict[str, int] = {}

    @saga()
    async def work(self) -> int:
        step = current_step()
        sequence, branches = self.program
        await self.follow(step, "main", sequence)
        await asyncio.gather(*(self.follow(step.branch(f"b{n}"), f"b{n}", acts) for n, acts in enumerate(branches)))
        return len(self.log)

    def waits(self) -> int:
        sequence, branches = self.program
        return sum(acts.count("told") for acts in (sequence, *branches))

    async def follow(self, step: Steps, branch: str, acts: list[str]) -> None:
        for n, act in enumerate(acts):
            if act == "child":
                await step.child(self.inner, f"{branch} {n}")
            elif act == "told":
                await step.receive("go", str)
            else:
                await step(self.act, f"{branch} {n}", act, undo=(self.undo, f"{branch} {n}"))

    @saga()
    async def inner(self, name: str) -> str:
        return await current_step()(self.act, name, "works", undo=(self.undo, name))

    async def act(self, name: str, act: str) -> str:
        self.tries[name] = tries = self.tries.get(name, 0) + 1
        self.log.append(("did", name))
        if act == "slow":
            await asyncio.sleep(0.5)
        if act == "refuses":
            raise NoneLeft(name, 1)
        if act == "breaks" or (act == "flaky" and tries % 3):
            raise lost()
        return name

    async def undo(self, name: str) -> None:
        self.log.append(("undid", name))
        await asyncio.sleep(0.1)


async def live(folder: Path, machine: Machine, crash: tuple[str, int] | None) -> object:
    """Return how the saga ended, None if the process died before."""
    dead = asyncio.Event()
    async with opened(folder, machine, settings=SagaSettings(step_retry=QUICK)) as sagas:
        if crash is not None:
            world.arm(crash[0], passes=crash[1], strike=lambda: die(sagas, dead))
        async with sagas._db.transaction() as tx:
            await sagas.start(tx, machine.work, id="t1")
            for n in range(machine.waits()):
                await sagas.signal("t1", "go", "go on", key=str(n), tx=tx)
        ending = asyncio.create_task(settled(sagas))
        dying = asyncio.create_task(dead.wait())
        await asyncio.wait([ending, dying], return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        if dead.is_set():
            ending.cancel()
            await asyncio.wait([ending])
            return None
        return ending.result()


def die(sagas, dead: asyncio.Event) -> None:
    """Stop everything here and now: nothing that is only in memory survives, as when a process dies."""
    dead.set()
    for awake in sagas._runner._awake.values():
        awake.task.cancel()
    raise asyncio.CancelledError


async def settled(sagas) -> object:
    try:
        return await sagas.result("t1")
    except (NoneLeft, StepFailedError) as error:
        return error


def fails(act: str) -> bool:
    return act in {"refuses", "breaks"}


@settings(max_examples=150, deadline=None)
@example(program=(["child", "told", "refuses"], []), crashes=[("sagas.after_reopen", 1), ("sagas.after_child_end", 1)])
@example(program=(["child"], [["child", "refuses"], ["told", "child"]]), crashes=[("sagas.after_child", 2)])
@example(program=([], [["works"] * 3] * 2), crashes=[("sagas.after_begin", 1)] * 2 + [("sagas.before_begin", 2)])
@given(program=programs, crashes=crashes)
async def test_whatever_fails_or_crashes_every_begun_step_is_done_or_undone_in_reverse_order(program, crashes):
    machine = Machine(program)
    with tempfile.TemporaryDirectory() as name:
        folder, ending = Path(name), None
        for crash in [*crashes, None]:
            try:
                ending = await live(folder, machine, crash)
            finally:
                if crash is not None:
                    world.arm(crash[0], passes=0)
            if ending is not None:
                break
        async with opened(folder, machine) as sagas:
            seen = await sagas.inspect("t1")
            with contextlib.suppress(NoneLeft, StepFailedError):
                await sagas.result("t1")
    steps = [step for step in seen.steps if step.operation != "signal"]
    begun = [name_in(step.arguments) for step in steps]
    did = [name for what, name in machine.log if what == "did"]
    undid = [
        name for n, (what, name) in enumerate(machine.log) if what == "undid" and machine.log[n - 1] != (what, name)
    ]
    first_undo = next((n for n, (what, _) in enumerate(machine.log) if what == "undid"), len(machine.log))

    sequence, branches = program
    if any(fails(act) for acts in (sequence, *branches) for act in acts):
        assert seen.status == "failed"
        assert isinstance(ending, NoneLeft | StepFailedError)
        assert undid == begun[::-1]
        assert {step.state for step in steps} == {"undone"}
        assert all(what == "undid" for what, _ in machine.log[first_undo:])
    else:
        assert (seen.status, undid) == ("done", [])
        assert {step.state for step in seen.steps} <= {"done"}
        assert sorted(begun) == sorted(
            [f"main {n}" for n, act in enumerate(sequence) if act != "told"]
            + [f"b{b} {n}" for b, acts in enumerate(branches) for n, act in enumerate(acts) if act != "told"]
        )
    assert set(did) <= set(begun)
    assert [name for name in dict.fromkeys(did) if name.startswith("main")] == [
        n for n in begun if n.startswith("main") and n in did
    ]


def name_in(arguments: str) -> str:
    return arguments.split('"')[1]
