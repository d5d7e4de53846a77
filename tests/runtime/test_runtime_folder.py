"""The data folder: one owner at a time, a format that is checked, and nothing emptied that is not ours."""

import json
import os
from pathlib import Path

import pytest

from archstone.runtime import DataFolder, FolderError, FolderFormatError, FolderInUseError, owner_of
from archstone.runtime.folder import FORMAT


async def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "a" / "b", "shop")
    await folder.open()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert json.loads((folder.path / "format.json").read_text()) == {"format": FORMAT, "system": "shop"}
    assert owner_of(folder.path) == ("shop", os.getpid())
    folder.close()
    folder.close()
    assert owner_of(folder.path) is None


@pytest.mark.parametrize(("mode", "then"), [(0o755, 0o700), (0o770, 0o700), (0o500 | 0o200, 0o700), (0o1777, 0o1777)])
async def test_a_folder_that_was_there_is_closed_to_others_unless_it_is_a_common_one(
    tmp_path: Path, mode: int, then: int
) -> None:
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)
    folder = DataFolder(path, "shop")
    await folder.open()
    folder.close()
    assert path.stat().st_mode & 0o7777 == then


async def test_a_folder_that_is_refused_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    (path / "format.json").write_text(json.dumps({"format": FORMAT, "system": "bank"}))
    path.chmod(0o755)
    with pytest.raises(FolderFormatError):
        await DataFolder(path, "shop").open()
    assert path.stat().st_mode & 0o777 == 0o755


async def test_a_second_owner_is_refused_by_name_and_process_id(tmp_path: Path) -> None:
    first = DataFolder(tmp_path, "shop")
    await first.open()
    with pytest.raises(FolderInUseError) as caught:
        await DataFolder(tmp_path, "shop").open()
    assert (caught.value.system, caught.value.pid) == ("shop", os.getpid())
    assert str(caught.value) == (
        f"data folder {tmp_path} is in use by system 'shop', process {os.getpid()}: "
        "stop that process, or name another folder with --data"
    )
    first.close()
    again = DataFolder(tmp_path, "shop")
    await again.open()
    again.close()


async def test_what_a_process_that_was_killed_left_behind_is_no_owner(tmp_path: Path) -> None:
    (tmp_path / "owner").write_text('{"system": "shop", "pid": 1}')
    assert owner_of(tmp_path) is None
    folder = DataFolder(tmp_path, "shop")
    await folder.open()
    folder.close()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"format": 1, "system": "bank"}', "it belongs to system 'bank', not 'shop'"),
        (f'{{"format": {FORMAT + 1}, "system": "shop"}}', f"its format is {FORMAT + 1}, this release reads up to"),
        ("{", "its format.json is damaged"),
        ("[]", "its format.json is damaged"),
        ('{"format": 1}', "its format.json is damaged"),
    ],
)
async def test_a_folder_that_is_not_ours_is_refused_and_unchanged(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "format.json").write_text(content)
    with pytest.raises(FolderFormatError, match=problem):
        await DataFolder(tmp_path, "shop").open()
    assert (tmp_path / "format.json").read_text() == content
    assert owner_of(tmp_path) is None


async def test_fresh_empties_a_data_folder_and_nothing_else(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    folder = DataFolder(data, "shop")
    await folder.open()
    (data / "mails").mkdir()
    (data / "mails" / "a.eml").touch()
    (data / "orders.db").touch()
    (data / "elsewhere").symlink_to(tmp_path)
    folder.close()
    await folder.open(fresh=True)
    assert sorted(entry.name for entry in data.iterdir()) == ["format.json", "owner"]
    folder.close()
    other.mkdir()
    (other / "thesis.txt").touch()
    with pytest.raises(FolderFormatError, match="it is left alone"):
        await DataFolder(other, "shop").open(fresh=True)
    assert [entry.name for entry in other.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_folder_with_other_things_in_it_is_refused_and_unchanged(tmp_path: Path, fresh: bool) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    documents.chmod(0o755)
    (documents / "thesis.txt").touch()
    with pytest.raises(FolderFormatError) as caught:
        await DataFolder(documents, "shop").open(fresh=fresh)
    assert str(caught.value) == (
        f"data folder {documents}: it is no data folder (it has 'thesis.txt' and no format.json), so it is left alone; "
        "name another folder with --data"
    )
    assert [entry.name for entry in documents.iterdir()] == ["thesis.txt"]
    assert documents.stat().st_mode & 0o777 == 0o755


async def test_an_empty_folder_is_taken_also_the_root_of_a_volume_and_one_half_made(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".format.json.0.aside").touch()
    (tmp_path / "owner").touch()
    folder = DataFolder(tmp_path, "shop")
    for fresh in (False, True):
        await folder.open(fresh=fresh)
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["format.json", "lost+found", "owner"]
        folder.close()


async def test_a_process_that_died_while_it_emptied_a_folder_is_followed_by_one_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(tmp_path, "shop")
    await folder.open()
    for name in ("bank.db", "orders.db", "zoo.db"):
        (tmp_path / name).touch()
    folder.close()
    unlink, left = Path.unlink, [2]

    def until_killed(path: Path, missing_ok: bool = False) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", until_killed)
        with pytest.raises(KeyboardInterrupt):
            await folder.open(fresh=True)
    assert len(list(tmp_path.glob("*.*"))) == 2, "two of format.json and three databases are gone"
    await folder.open()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["format.json", "owner"]
    folder.close()


async def test_fresh_waits_for_nobody_who_runs(tmp_path: Path) -> None:
    first = DataFolder(tmp_path, "shop")
    await first.open()
    (tmp_path / "orders.db").touch()
    with pytest.raises(FolderInUseError):
        await DataFolder(tmp_path, "shop").open(fresh=True)
    assert (tmp_path / "orders.db").exists()
    first.close()


async def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match=r"cannot be used: .*name another with --data"):
        await DataFolder(tmp_path / "file", "shop").open()
    with pytest.raises(FolderError, match=r"cannot be used: .*name another with --data"):
        await DataFolder(tmp_path / "file" / "below", "shop").open()
