"""Files that are there whole or not at all, folders that are there at all, and what a sync takes."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archstone import disk, world


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    disk.put(path, b"old")

    def write(aside: Path) -> None:
        aside.write_bytes(b"half of the new o")
        assert path.read_bytes() == b"old"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        disk.put_by(path, write)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
    disk.put(path, b"n", b"", b"ew")
    assert path.read_bytes() == b"new"


def test_it_is_synced_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def renamed(*names: str) -> None:
        done.append("name")
        replace(*names)

    monkeypatch.setattr(disk, "_sync_all", fsync)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    disk.put(tmp_path / "file", b"content")
    assert done == ["file", "name", "folder"]


def test_one_that_is_there_stays_if_it_is_not_to_be_replaced(tmp_path: Path) -> None:
    disk.put(tmp_path / "key", b"first", mode=0o600, replace=False)
    disk.put(tmp_path / "key", b"second", mode=0o600, replace=False)
    assert (tmp_path / "key").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert len([*tmp_path.iterdir()]) == 1


def test_a_kill_before_it_has_its_name_leaves_the_old_one_and_what_can_be_found(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    disk.put(below / "file", b"old")
    program = "import sys, pathlib; from archstone import disk; disk.put(pathlib.Path(sys.argv[1]), b'never named')"
    environment = {**os.environ, world.CRASH_VARIABLE: disk.AFTER_ASIDE}
    killed = subprocess.run([sys.executable, "-c", program, below / "file"], env=environment, check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    (left,) = [each for each in below.iterdir() if each.name != "file"]
    assert left.read_bytes() == b"never named"
    assert disk.is_unfinished(left.name)
    assert not disk.is_unfinished("file")
    assert disk.remove_unfinished(tmp_path) == 1
    assert [each.name for each in below.iterdir()] == ["file"]
    assert (below / "file").read_bytes() == b"old"


def test_what_is_created_is_new_and_follows_no_link(tmp_path: Path) -> None:
    disk.create(tmp_path / "file", b"a", b"b", mode=0o600)
    assert (tmp_path / "file").read_bytes() == b"ab"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            disk.create(tmp_path / name, b"c")
    assert not (tmp_path / "elsewhere").exists()


def test_new_folders_are_synced_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    disk.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert synced == [tmp_path, tmp_path / "a"]


@pytest.mark.real_time
@pytest.mark.parametrize("growing", [False, True])
def test_a_sync_is_measured_by_its_quickest_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, growing: bool
) -> None:
    sizes: list[int] = []

    def slow_at_first(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        if len(sizes) < 5:
            time.sleep(0.002)

    monkeypatch.setattr(disk, "sync", slow_at_first)
    assert 0 < disk.measured_sync_s(tmp_path, growing=growing) < 0.002
    assert sizes == [4096 * (number if growing else 1) for number in range(1, 6)]
    assert [*tmp_path.iterdir()] == []
