"""The cast of the saga tests: a depot whose acts are logged and can be told to fail or to wait, and a traveller."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

from archstone import context
from archstone.context import Call
from archstone.data import Database
from archstone.errors import DomainError, RemoteError
from archstone.sagas import Sagas, Steps, current_step, saga


class NoneLeft(DomainError, code="depot.none-left", status=409):
    def __init__(self, thing: str, wanted: int) -> None:
        super().__init__(thing, wanted)
        self.thing = thing
        self.wanted = wanted

    def __str__(self) -> str:
        return f"{self.wanted} of {self.thing} wanted, none left"


class Depot:
    """Somebody else's service."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.calls: list[Call] = []
        self.errors: dict[str, list[BaseException]] = {}
        self.gates: dict[str, asyncio.Event] = {}

    def fail(self, act: str, *errors: BaseException) -> None:
        self.errors[act] = list(errors)

    def hold(self, act: str) -> asyncio.Event:
        self.gates[act] = asyncio.Event()
        return self.gates[act]

    async def take(self, thing: str, count: int = 1) -> str:
        await self._act(f"take {thing}")
        return f"{count} {thing}"

    async def put_back(self, thing: str) -> None:
        await self._act(f"put back {thing}")

    async def _act(self, act: str) -> None:
        self.calls.append(context.current())
        self.log.append(act)
        if act in self.gates:
            await self.gates[act].wait()
        if self.errors.get(act):
            raise self.errors[act].pop(0)


class Traveller:
    """The owner of sagas."""

    def __init__(self, depot: Depot) -> None:
        self.depot = depot
        self.bodies = 0

    @property
    def step(self) -> Steps:
        return current_step()

    @saga()
    async def journey(self, things: tuple[str, ...]) -> list[str]:
        self.bodies += 1
        return [await self.step(self.depot.take, thing, 1, undo=(self.depot.put_back, thing)) for thing in things]

    @saga()
    async def at_once(self, left: str, right: str) -> list[str]:
        async def fetch(side: str, thing: str) -> str:
            branch = self.step.branch(side)
            first = await branch(self.depot.take, thing, undo=(self.depot.put_back, thing))
            await branch(self.depot.take, f"{thing} again", undo=(self.depot.put_back, f"{thing} again"))
            return first

        return list(await asyncio.gather(fetch("left", left), fetch("right", right)))

    @saga()
    async def grouped(self, left: str, right: str) -> str:
        async with asyncio.TaskGroup() as group:
            for side, thing in (("left", left), ("right", right)):
                group.create_task(self.step.branch(side)(self.depot.take, thing, undo=(self.depot.put_back, thing)))
        return "both"


def lost() -> RemoteError:
    return RemoteError("the line is dead")


@asynccontextmanager
async def opened(tmp_path: Path, owner: object, **options):
    """Open the same database again and again, each time with a new engine: what a restart does."""
    async with (
        Database(f"sqlite:///{tmp_path / 'sagas.db'}") as db,
        Sagas(db, owner=owner, name="trip", **options) as sagas,
    ):
        yield sagas
