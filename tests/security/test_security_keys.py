"""The key file: made once, durable, nobody else's to read."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from archstone.security import InsecureKeyFileError, KeyFile, KeyFileError, SigningKeys


def test_the_first_start_makes_the_file_and_the_next_ones_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = KeyFile(path).load()
    assert KeyFile(path).load() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["keys.json"]


def test_two_files_have_two_keys(tmp_path: Path) -> None:
    assert KeyFile(tmp_path / "a").load() != KeyFile(tmp_path / "b").load()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_lets_others_in_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    KeyFile(path).load()
    path.chmod(mode)
    with pytest.raises(InsecureKeyFileError, match=f"mode 0{mode:o} lets others in"):
        KeyFile(path).load()


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_for_its_owner_alone_is_accepted(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    keys = KeyFile(path).load()
    path.chmod(mode)
    assert KeyFile(path).load() == keys


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"keys": []}', '{"keys": ["AAAA"]}', '{"keys": [1]}', '{"keys": "ab!"}']
)
def test_a_broken_file_is_an_error_and_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="restore it from a backup"):
        KeyFile(path).load()
    assert path.read_text() == text


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    KeyFile(tmp_path / "real").load()
    (tmp_path / "keys.json").symlink_to(tmp_path / "real")
    with pytest.raises(KeyFileError):
        KeyFile(tmp_path / "keys.json").load()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="nowhere"):
        KeyFile(tmp_path / "nowhere" / "keys.json").load()


def test_rotation_puts_a_new_key_in_front_and_keeps_the_last(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    first = file.load()
    second = file.rotate()
    third = file.rotate()
    assert second.keys[1:] == first.keys
    assert third.keys[1:] == second.keys[:1]
    assert file.load() == third
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_keys_do_not_show() -> None:
    keys = SigningKeys((b"k" * 32,))
    assert "kkk" not in repr(keys)


def test_processes_that_start_together_agree_on_the_keys(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from archstone.security import KeyFile;"
        "sys.stdin.readline(); print(*KeyFile(pathlib.Path(sys.argv[1])).load().by_id())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "keys.json")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    assert len({process.communicate()[0] for process in processes}) == 1
