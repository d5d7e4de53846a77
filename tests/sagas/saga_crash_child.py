"""The process that the crash tests kill: one saga over a file that says what was done in the world outside."""

import asyncio
import os
import sys
from pathlib import Path

from archstone import context
from archstone.data import Database
from archstone.errors import DomainError
from archstone.sagas import Sagas, SagaSettings, current_step, saga


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
            await step(self.outside.do, what, undo=(self.outside.undo, what))
        return "all done"


async def main(folder: Path, last: str) -> None:
    owner = Owner(Outside(folder / "outside.txt"))
    async with (
        Database(f"sqlite:///{folder / 'sagas.db'}") as db,
        Sagas(db, owner=owner, settings=SagaSettings(timeout_s=30)) as sagas,
    ):
        async with db.transaction() as tx:
            await sagas.start(tx, owner.three, last, id="t1")
        try:
            print(await sagas.result("t1"))
        except Refused as error:
            print(repr(error))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
