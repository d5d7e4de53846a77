"""A backup taken while orders are placed is a shop of one instant; a copy of several instants is found out."""

import asyncio
import io
import itertools
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import httpx
import pytest
from shop_http import Person, at_rest, eventually, new_person, served_shop, skus
from shop_process import ShopProcess

from archstone import disk
from archstone.runtime import BackupError, FolderFormatError, ask, back_up, restore
from archstone.systems.shop import invariants

TOKENS = ("tok_ok", "tok_ok", "tok_ok", "tok_declined", "tok_flaky", "tok_timeout")
EARLY = ("bank", "inventory", "payments")


class Load:
    """People who place orders, await what their good cards pay for, and cancel some, until told to stop."""

    def __init__(self, http: httpx.Client, people: list[Person]) -> None:
        self.over = threading.Event()
        self.placed = 0
        names = skus(http, 20)
        self._threads = [threading.Thread(target=self._buy, args=(person, names)) for person in people]

    def _buy(self, person: Person, names: list[str]) -> None:
        number = 0
        while not self.over.is_set():
            number += 1
            token = TOKENS[number % len(TOKENS)]
            order_id = person.buy((names[number % 20], 1 + number % 3), token=token)
            self.placed += 1
            if token == "tok_ok":
                person.settled(order_id, within_s=120)
            if number % 5 == 0:
                person.send("POST", f"/orders/{order_id}/cancel")

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def busy_shop(data: Path) -> Iterator[tuple[ShopProcess, Load]]:
    with served_shop(data) as shop, httpx.Client(base_url=shop.url, timeout=30) as http:
        with Load(http, [new_person(http) for _ in range(4)]) as load:
            eventually(lambda: load.placed, lambda placed: placed > 40)
            yield shop, load
        at_rest(shop, within_s=180)


def orders_in(data: Path) -> int:
    with closing(sqlite3.connect(data / "orders.db")) as db:
        return int(db.execute("SELECT count(*) FROM orders").fetchone()[0])


def ended_in(data: Path) -> int:
    """Count the checkouts that have come to their end."""
    with closing(sqlite3.connect(f"file:{data / 'orders.db'}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM _archstone_sagas WHERE finished_us IS NOT NULL").fetchone()[0])


def finished(data: Path) -> list[str]:
    """Start the shop on a folder, let it finish what it can, and return what is false about it then."""
    with served_shop(data) as shop:
        socket = data / "control.sock"
        eventually(lambda: asyncio.run(ask(socket, "status")), lambda status: not status["sagas_running"], within_s=60)
        status = asyncio.run(ask(socket, "status"))
        if not status["sagas_stuck"]:
            with_patience(shop)
    return invariants.check(data)


def with_patience(shop: ShopProcess) -> None:
    """Wait for rest; a torn copy may never come to it."""
    try:
        at_rest(shop, within_s=10)
    except AssertionError:
        return


@pytest.mark.slow
def test_a_backup_under_load_is_a_shop_of_one_instant(tmp_path: Path) -> None:
    with busy_shop(tmp_path / "shop") as (shop, load):
        before = load.placed
        done = shop.command("backup", "shop", str(tmp_path / "shop.tgz"))
        assert done.returncode == 0, done.stderr
        eventually(lambda: load.placed, lambda placed: placed > before + 60)
    assert invariants.check(shop.data) == []
    assert (tmp_path / "shop.tgz").stat().st_mode & 0o777 == 0o600
    elsewhere = ShopProcess(tmp_path / "elsewhere" / "shop")
    done = elsewhere.command("restore", "shop", str(tmp_path / "shop.tgz"))
    assert done.returncode == 0, done.stderr
    assert elsewhere.data.stat().st_mode & 0o777 == 0o700
    assert before <= orders_in(elsewhere.data) < orders_in(shop.data)
    assert invariants.check(elsewhere.data) != [], "nothing was under way: the test has shown nothing"
    assert finished(elsewhere.data) == []


@pytest.mark.slow
def test_a_copy_of_several_instants_is_found_out(tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.mkdir()
    with busy_shop(tmp_path / "shop") as (shop, _):
        for name in EARLY:
            copy(shop.data / f"{name}.db", torn)
        before = ended_in(shop.data)
        eventually(lambda: ended_in(shop.data), lambda ended: ended > before + 20, within_s=60)
        for file in shop.data.glob("*.db"):
            if file.stem not in EARLY:
                copy(file, torn)
        for name in ("keys.json", "encryption.json", "format.json"):
            shutil.copy(shop.data / name, torn)
        shutil.copytree(shop.data / "mails", torn / "mails", ignore=shutil.ignore_patterns(".*"))
    # What is under way counts for nothing here: of orders that have ended no start of the shop will mend the money.
    assert [
        each for each in invariants.money_adds_up(asyncio.run(invariants.read(torn))) if "is confirmed" in each
    ] != []


def copy(source: Path, folder: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as here,
        closing(sqlite3.connect(folder / source.name)) as there,
    ):
        here.backup(there)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[ShopProcess, Path]:
    """A shop that has run, and a backup that was taken while it did not."""
    folder = tmp_path_factory.mktemp("backup")
    with served_shop(folder / "shop") as shop:
        assert shop.data.exists()
    done = shop.command("backup", "shop", str(folder / "good.tgz"))
    assert done.returncode == 0, done.stderr
    return shop, folder / "good.tgz"


def test_a_backup_holds_all_and_nothing_that_belongs_to_a_process(stopped: tuple[ShopProcess, Path]) -> None:
    with tarfile.open(stopped[1]) as archive:
        names = set(archive.getnames())
    services = {f"{name}.db" for name in ("users", "catalog", "inventory", "payments", "shipping", "orders")}
    assert names >= {"manifest.json", "format.json", "keys.json", "bank.db", "bus.db", "traces.db", *services}
    assert not any(name.endswith(("-wal", "-shm", ".lock", ".sock", "owner")) for name in names), names


def test_restoring_replaces_only_what_it_may(stopped: tuple[ShopProcess, Path], tmp_path: Path) -> None:
    good, data = stopped[1], tmp_path / "data"
    restore(good, data, "shop")
    with pytest.raises(BackupError, match="is not empty: name another with --data, or replace it with --fresh"):
        restore(good, data, "shop")
    (data / "later.txt").touch()
    restore(good, data, "shop", replace=True)
    assert not (data / "later.txt").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").touch()
    with pytest.raises(FolderFormatError, match="it is left alone"):
        restore(good, other, "shop", replace=True)
    assert (other / "thesis.txt").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "other"], "something is left beside them"


def test_a_backup_of_another_system_is_refused(stopped: tuple[ShopProcess, Path], tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="is a backup of system 'shop', not of 'bank'"):
        restore(stopped[1], tmp_path / "data", "bank")
    assert not (tmp_path / "data").exists()


async def test_what_says_of_itself_that_it_is_a_cache_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("images/CACHEDIR.TAG", "images/deep/one", "false/CACHEDIR.TAG", "mails/a.eml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(
            "Signature: no" if "false" in name else "Signature: 8a477f597d28d172789f06886806bc55\n"
        )
    info = await back_up(folder, "shop", {}, tmp_path / "backup")
    assert set(info.files) == {"false/CACHEDIR.TAG", "mails/a.eml"}
    assert set(restore(tmp_path / "backup", tmp_path / "other", "shop").files) == set(info.files)


async def test_what_is_being_written_is_left_out_though_it_may_be_gone_before_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    disk.put(folder / "progress.json", b"1")
    copied = shutil.copy2

    def meanwhile(source: Path, target: Path) -> None:
        for each in folder.glob(f".*{disk.ASIDE}"):  # it gets its name
            each.replace(folder / "progress.json")
        copied(source, target)

    monkeypatch.setattr(shutil, "copy2", meanwhile)
    (folder / f".progress.json.0{disk.ASIDE}").write_bytes(b"2")
    info = await back_up(folder, "shop", {}, tmp_path / "backup")
    assert set(info.files) == {"progress.json"}


@pytest.mark.parametrize("at", [0, 10, 0.3, 0.6, 0.99])
def test_a_damaged_backup_is_refused_and_leaves_nothing(
    stopped: tuple[ShopProcess, Path], tmp_path: Path, at: float
) -> None:
    content = bytearray(stopped[1].read_bytes())
    place = at if isinstance(at, int) else int(len(content) * at)
    content[place : place + 50] = bytes(byte ^ 0xFF for byte in content[place : place + 50])
    (tmp_path / "bad.tgz").write_bytes(content)
    with pytest.raises(BackupError):
        restore(tmp_path / "bad.tgz", tmp_path / "data", "shop")
    (tmp_path / "short.tgz").write_bytes(stopped[1].read_bytes()[: max(1, place)])
    with pytest.raises(BackupError):
        restore(tmp_path / "short.tgz", tmp_path / "data", "shop")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bad.tgz", "short.tgz"]


def test_a_backup_with_a_way_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "evil.tgz", "w:gz") as archive:
        archive.add(tmp_path / "x", arcname="../../escaped")
    with pytest.raises(BackupError, match="not a backup that can be read"):
        restore(tmp_path / "evil.tgz", tmp_path / "a" / "b" / "data", "shop")
    assert not (tmp_path / "escaped").exists()


def small(folder: Path) -> Path:
    """Return the backup of a small data folder `data` in `folder`."""
    data = folder / "data"
    data.mkdir()
    (data / "format.json").write_text('{"format": 1, "system": "s"}')
    (data / "mails").mkdir()
    (data / "mails" / "1").write_text("hello")
    asyncio.run(back_up(data, "s", {}, folder / "good.tgz"))
    return folder / "good.tgz"


@pytest.mark.parametrize("name", ["keys.json", "mails/2", "../out.txt", "mails/1", "/tmp/archstone-out.txt"])
def test_a_backup_with_a_file_that_its_manifest_does_not_name_is_refused(tmp_path: Path, name: str) -> None:
    good, evil = small(tmp_path), tmp_path / "evil.tgz"
    with tarfile.open(good) as old, tarfile.open(evil, "w:gz") as new:
        for member in old:
            new.addfile(member, old.extractfile(member))
        strange = tarfile.TarInfo(name)
        strange.size = 5
        new.addfile(strange, io.BytesIO(b"EVIL!"))
    with pytest.raises(BackupError, match=f"{name}' is not in its manifest, or twice"):
        restore(evil, tmp_path / "restored", "s")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "evil.tgz", "good.tgz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_backup_with_what_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    good, evil = small(tmp_path), tmp_path / "evil.tgz"
    with tarfile.open(good) as old, tarfile.open(evil, "w:gz") as new:
        for member in old:
            if member.name == "mails/1":
                member.type, member.linkname, member.size = kind, "format.json", 0
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
    with pytest.raises(BackupError, match="'mails/1' is no file"):
        restore(evil, tmp_path / "restored", "s")
    assert not (tmp_path / "restored").exists()


def test_restoring_needs_no_filter_of_tarfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def extractall(self: tarfile.TarFile, path: object = ".") -> None:
        """As in Python 3.11.3."""

    monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)
    restored = tmp_path / "restored"
    restore(small(tmp_path), restored, "s")
    assert (restored / "mails" / "1").read_text() == "hello"
    assert sorted(entry.name for entry in restored.iterdir()) == ["format.json", "mails"]
    modes = {path.stat().st_mode & 0o077 for path in [restored, *restored.rglob("*")]}
    assert modes == {0}, "for its owner alone"


@pytest.mark.parametrize("fails", [1, 2])
def test_when_a_folder_cannot_be_replaced_it_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    good, data = small(tmp_path), tmp_path / "data"
    (data / "later.txt").touch()
    rename, calls = Path.rename, itertools.count(1)

    def broken(self: Path, target: Path) -> Path:
        if next(calls) == fails:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(BackupError, match="No space left"):
        restore(good, data, "s", replace=True)
    monkeypatch.undo()
    assert (data / "later.txt").exists()
    assert (data / "mails" / "1").read_text() == "hello"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "good.tgz"]


def test_restoring_under_a_running_process_is_refused(stopped: tuple[ShopProcess, Path]) -> None:
    shop, good = stopped
    with served_shop(shop.data) as running:
        done = running.command("restore", "shop", str(good), "--fresh")
        assert done.returncode == 2
        assert running.process is not None
        assert f"is in use by process {running.process.pid}: stop it before restoring" in done.stderr
        assert httpx.get(f"{running.url}/health/ready").status_code == 200
