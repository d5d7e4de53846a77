"""Files that are there whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from archstone.data import measured_sync_s, put, put_by, remove_unfinished


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    put(path, b"old")

    def write(aside: Path) -> None:
        aside.write_bytes(b"half of the new o")
        assert path.read_bytes() == b"old"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        put_by(path, write)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
    put(path, b"n", b"", b"ew")
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

    monkeypatch.setattr("archstone.data.files._sync", fsync)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    put(tmp_path / "file", b"content")
    assert done == ["file", "name", "folder"]


def test_one_that_is_there_stays_if_it_is_not_to_be_replaced(tmp_path: Path) -> None:
    put(tmp_path / "key", b"first", mode=0o600, replace=False)
    put(tmp_path / "key", b"second", mode=0o600, replace=False)
    assert (tmp_path / "key").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert len([*tmp_path.iterdir()]) == 1


def test_what_a_crash_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "below"
    below.mkdir()
    put(below / "file", b"whole")
    with monkeypatch.context() as dead:
        dead.setattr(Path, "unlink", lambda *_, **__: None)
        dead.setattr(Path, "replace", lambda *_: None)
        put(below / "file", b"never named")
    assert remove_unfinished(tmp_path) == 1
    assert [each.name for each in below.iterdir()] == ["file"]
    assert (below / "file").read_bytes() == b"whole"


def test_a_sync_is_as_slow_as_the_quickest_of_a_few_and_leaves_nothing(tmp_path: Path) -> None:
    times = iter([0.0, 3.0, 10.0, 11.0, 20.0, 20.5, 30.0, 34.0, 40.0, 41.0])
    synced: list[int] = []
    assert measured_sync_s(tmp_path, lambda: next(times), sync=synced.append) == 0.5
    assert len(synced) == 5

    def refuse(_: int) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        measured_sync_s(tmp_path, lambda: 0.0, sync=refuse)
    assert [*tmp_path.iterdir()] == []
