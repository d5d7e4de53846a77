"""Passwords from breaches in a sorted file: found wherever they stand, and a file that is none says so."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone.errors import ConfigError
from archstone.runtime import Embedded, Settings
from archstone.security import BreachedList, Passwords
from archstone.systems.shop.system import shop


def sha1(password: str) -> str:
    return hashlib.sha1(password.encode()).hexdigest().upper()


def written(file: Path, seen: dict[str, int], *, end: str = "\r\n", last: bool = True) -> BreachedList:
    lines = [f"{digest}:{count}" for digest, count in sorted((sha1(each), count) for each, count in seen.items())]
    file.write_bytes((end.join(lines) + end * last).encode())
    return BreachedList(file)


TEXTS = st.text(st.characters(codec="ascii"), max_size=8)


@given(
    seen=st.dictionaries(TEXTS, st.integers(1, 10**9), min_size=1, max_size=40),
    others=st.lists(TEXTS, max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
async def test_what_is_in_the_list_is_found_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, seen: dict[str, int], others: list[str], end: str, last: bool
) -> None:
    known = written(tmp_path_factory.mktemp("list") / "list.txt", seen, end=end, last=last)
    for password in {*seen, *others}:
        assert await known.times_seen(password) == seen.get(password, 0)


async def test_a_long_list_is_looked_at_in_few_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archstone.security import breachedlist

    known = written(tmp_path / "list.txt", {f"password {number}": number + 1 for number in range(5_000)})
    looks = []
    line_from = breachedlist._line_from
    monkeypatch.setattr(breachedlist, "_line_from", lambda *where: looks.append(where) or line_from(*where))
    assert await known.times_seen("password 4999") == 5_000
    assert await known.times_seen("password 5000") == 0
    assert len(looks) < 2 * 20


@pytest.mark.parametrize("content", [b"", b"password\n", b"0" * 40 + b"\n", b"g" * 40 + b":1\n", b"0" * 100])
def test_a_file_that_is_no_such_list_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="SHA-1:COUNT"):
        BreachedList(file)
    with pytest.raises(ConfigError, match="No such file"):
        BreachedList(tmp_path / "nowhere.txt")


async def test_a_file_that_goes_bad_means_unknown_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = written(tmp_path / "list.txt", {"a quiet evening": 3})
    (tmp_path / "list.txt").write_bytes(b"x" * 10_000)
    assert await known.times_seen("a quiet evening") == 0
    (tmp_path / "list.txt").unlink()
    assert await known.times_seen("a quiet evening") == 0
    assert "cannot be read" in capsys.readouterr().err


async def test_the_shop_refuses_what_is_in_the_list(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    written(file, {"eleven louder geese": 7})
    settings = Settings(options={"breached_passwords": f"file://{file}"})
    async with Embedded(shop, tmp_path / "shop", settings) as run:
        flaw = await run.parts.provided[Passwords].flaw("eleven louder geese")
        assert flaw is not None
        assert flaw.kind == "breached"
        assert await run.parts.provided[Passwords].flaw("twelve louder geese") is None
