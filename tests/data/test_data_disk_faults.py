"""A full disk and a disk that fails to sync: a clear error, nothing half done. Faults come from the power-cut shim."""

import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import asyncio, os, sys
from pathlib import Path
from archstone.data import Database, DatabaseError, TransactionLostError

folder, shadow, fault = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

async def insert(db, row):
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO rows VALUES (:row)", row=row)

async def main():
    async with Database(f"sqlite:///{folder}/x.db", commit_in_thread=sys.argv[4] == "thread") as db:
        await db.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY)")
        await insert(db, 1)
        (shadow / fault).touch()
        for error in await asyncio.gather(insert(db, 2), insert(db, 3), return_exceptions=True):
            print(type(error).__name__, error)
        (shadow / fault).unlink()
        try:
            await insert(db, 4)
        except DatabaseError as error:
            print(type(error).__name__)
        print(await db.all(int, "SELECT id FROM rows"))
    async with Database(f"sqlite:///{folder}/x.db") as db:
        print(await db.one(str, "SELECT integrity_check FROM pragma_integrity_check"))
        await insert(db, 5)

asyncio.run(main())
"""


def run(tmp_path: Path, shim: Path, *, fault: str, mode: str) -> list[str]:
    folder, shadow = tmp_path / "disk", tmp_path / "shadow"
    folder.mkdir()
    (shadow / "data").mkdir(parents=True)
    (shadow / "root").mkdir()
    environment = {"LD_PRELOAD": str(shim), "POWER_CUT_FOLDER": str(folder), "POWER_CUT_SHADOW": str(shadow)}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, folder, shadow, fault, mode],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("mode", ["inline", "thread"])
def test_a_full_disk_undoes_the_group_and_names_file_and_statement(tmp_path: Path, shim: Path, mode: str):
    told = (
        f"DiskFullError database {tmp_path}/disk/x.db: database or disk is full; statement: COMMIT; nothing was done, "
        "make room and retry"
    )
    assert run(tmp_path, shim, fault="full", mode=mode) == [told, told, "[1, 4]", "ok"]


@pytest.mark.parametrize("mode", ["inline", "thread"])
def test_a_failed_sync_shuts_the_database_because_nobody_knows_what_is_on_disk(tmp_path: Path, shim: Path, mode: str):
    told = (
        f"DiskFailedError database {tmp_path}/disk/x.db: disk I/O error; statement: COMMIT; the last commits may or "
        "may not be on disk, check the disk and open the database again"
    )
    assert run(tmp_path, shim, fault="broken-sync", mode=mode) == [told, told, "DiskFailedError", "[1]", "ok"]
