"""The process that the crash tests kill: one saga over a file that says what was done in the world outside."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from archstone import context
from archstone.data import Database, Transaction
from archstone.errors import DomainError, RejectedError
from archstone.resilience import Exponential, Retry
from archstone.sagas import (
    Queue,
    SagaCancelledError,
    SagaNotCancellableError,
    Sagas,
    SagaSettings,
    current_step,
    saga,
)

RETRY = Retry(5, backoff=Exponential(60, cap_s=60))


class Refused(DomainError, code="crash.refused"):
    def __init__(self, what: str) -> None:
        super().__init__(what)


class Outside:
    """What was done survives the process: a line each, appended and synced, under the key of the call."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def do(self, what: str) -> str:
        self._write("do", what)
        if what == "refused":
            raise Refused(what)
        if what == "busy":
            raise RejectedError(what)
        return f"done {what}"

    async def undo(self, what: str) -> None:
        self._write("undo", what)

    def _write(self, verb: str, what: str) -> None:
        with self._file.open("a") as file:
            file.write(f"{verb} {what} {context.current().key}\n")
            file.flush()
            os.fsync(file.fileno())


class Owner:
    def __init__(self, outside: Outside) -> None:
        self.outside = outside

    @saga()
    async def three(self, last: str) -> str:
        step = current_step()
        for what in ("first", "second", last):
            await step(self.outside.do, what, undo=(self.outside.undo, what), retry=RETRY)
        return "all done"

    @saga()
    async def told(self) -> str:
        step = current_step()
        await step(self.outside.do, "first", undo=(self.outside.undo, "first"), retry=RETRY)
        for _ in range(2):
            await step(self.outside.do, await step.receive("what", str), retry=RETRY)
        return "all done"

    @saga()
    async def bag(self) -> str:
        step = current_step()
        for what in ("first", "second"):
            await step(self.outside.do, what, undo=(self.outside.undo, what), retry=RETRY)
        return "packed"

    @saga()
    async def kin(self, last: str) -> str:
        step = current_step()
        await step.child(self.bag, id="bag")
        await step(self.outside.do, last, undo=(self.outside.undo, last), retry=RETRY)
        return "all done"

    @saga(queue=Queue("line", per_key=1))
    async def lined(self, what: str) -> str:
        await current_step()(self.outside.do, what, retry=RETRY)
        return "all done"


async def main(folder: Path, how: str) -> None:
    owner = Owner(Outside(folder / "outside.txt"))
    async with (
        Database(f"sqlite:///{folder / 'sagas.db'}") as db,
        Sagas(db, owner=owner, settings=SagaSettings(timeout_s=30, max_sleeping=0)) as sagas,
    ):
        async with db.transaction() as tx:
            await start(sagas, owner, tx, how)
        await go_along(sagas, how)
        try:
            print(await sagas.result({"fork": "t2", "lined": "third"}.get(how, "t1")))
        except (Refused, SagaCancelledError) as error:
            print(repr(error))


async def start(sagas: Sagas, owner: Owner, tx: Transaction, how: str) -> None:
    match how.split():
        case ["told" | "woken"]:
            await sagas.start(tx, owner.told, id="t1")
        case ["kin", last]:
            await sagas.start(tx, owner.kin, last, id="t1")
        case ["lined"]:
            for what in ("first", "second", "third"):
                await sagas.start(tx, owner.lined, what, id=what, key="ann")
        case _:
            await sagas.start(tx, owner.three, "third" if how == "fork" else how, id="t1")


async def go_along(sagas: Sagas, how: str) -> None:
    match how:
        case "busy":
            await cancelled(sagas)
        case "told":
            await tell(sagas, pause_s=0.0)
        case "woken":
            await tell(sagas, pause_s=0.5)
        case "fork":
            await sagas.result("t1")
            await sagas.fork("t1", from_step="main/outside.do#3", as_id="t2")
        case _:
            pass


async def cancelled(sagas: Sagas) -> None:
    """Cancel the saga when it waits to try its last step again, as an operator would who insists."""
    while len((await sagas.inspect("t1")).steps) < 3:
        await asyncio.sleep(0.005)
    with contextlib.suppress(SagaNotCancellableError):  # it goes back already, or has come to its end
        await sagas.cancel("t1", by="ann")


async def tell(sagas: Sagas, *, pause_s: float) -> None:
    """Send what the saga waits for, when it waits for it, or after it has gone to sleep on disk, and twice each."""
    for n, what in enumerate(("second", "third")):
        while len((await sagas.inspect("t1")).steps) < 2 + 2 * n:
            await asyncio.sleep(0.005)
        await asyncio.sleep(pause_s)
        for _ in range(2):
            await sagas.signal("t1", "what", what, key=what)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
