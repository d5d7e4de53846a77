"""Audit logs at the command line: what was done and refused is listed, and whether somebody has touched it is told."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from archstone import simulation
from archstone.cli.verbs import app
from archstone.context import Principal
from archstone.runtime import running
from archstone.systems.shop.system import shop as system
from archstone.systems.shop.users.contract import Sessions, SignInError, UserAdmin, UserWrite

EMAIL = "ann@example.org"
OPERATOR = Principal("operator", frozenset({"admin"}))


async def used(data: Path) -> None:
    """Register, fail to sign in, sign in, become an administrator."""
    async with running(system, data=data) as run:
        await run.client(UserWrite).register(EMAIL, "a quiet evening", "Ann")
        with pytest.raises(SignInError):
            await run.client(Sessions).login(EMAIL, "a wrong evening")
        await run.client(Sessions).login(EMAIL, "a quiet evening")
        await run.client(UserAdmin, as_=OPERATOR).grant(EMAIL, "admin")
        await asyncio.sleep(61)  # until the end is anchored


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited") / "shop"
    simulation.run(used(folder), limit_s=None)
    return folder


def verb(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output


def told(data: Path, *words: str) -> Any:
    code, text = verb("audit", *words, "--data", str(data), "--json")
    assert code in {0, 1}, text
    return json.loads(text)


@contextmanager
def database(data: Path, name: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(data / f"{name}.db")) as db, db:
        yield db


def test_what_was_done_and_what_was_refused_is_listed_newest_first(data: Path) -> None:
    records = told(data, "shop")["records"]
    assert [(each["log"], each["action"], each["outcome"]) for each in records] == [
        ("users", "users.role-granted", "done"),
        ("users", "users.signed-in", "done"),
        ("system", "users.sign-in", "failed"),
        ("users", "users.registered", "done"),
    ]
    assert json.loads(records[0]["details"]) == {"role": "admin"}
    assert "evening" not in json.dumps(records)
    assert [each["action"] for each in told(data, "shop", "--outcome", "failed")["records"]] == ["users.sign-in"]
    assert [each["log"] for each in told(data, "shop", "--log", "system")["records"]] == ["system"]
    assert len(told(data, "shop", "--limit", "2")["records"]) == 2
    assert told(data, "shop", "--action", "users.role-granted", "--who", "operator")["records"] == records[:1]


def test_logs_that_nobody_has_touched_hold(data: Path) -> None:
    code, text = verb("audit", "verify", "shop", "--data", str(data))
    assert (code, "4 records, and nobody has touched them" in text) == (0, True), text
    logs = told(data, "verify", "shop")["logs"]
    assert [(each["log"], each["holds"], each["records"]) for each in logs] == [
        ("system", True, 1), ("programs", True, 0), ("users", True, 3),
    ]  # fmt: skip
    assert [each["anchored"] for each in logs] == [1, None, 3]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE _archstone_audit SET who = 'bob' WHERE number = 2", "changed"),
        ("DELETE FROM _archstone_audit WHERE number = 2", "missing: 2"),
        ("DELETE FROM _archstone_audit WHERE number = 3", "the end was"),
    ],
)
def test_a_log_that_was_touched_is_told_with_the_number_and_exit_code_1(
    data: Path, tmp_path: Path, statement: str, what: str
) -> None:
    import shutil

    copy = tmp_path / "shop"
    shutil.copytree(data, copy)
    with database(copy, "users") as db:
        db.execute(statement)
    code, text = verb("audit", "verify", "shop", "--data", str(copy))
    assert (code, what in text) == (1, True), text
    assert [each["holds"] for each in told(copy, "verify", "shop")["logs"]] == [True, True, False]


@pytest.mark.parametrize("words", [("shop", "--log", "nonsense"), ("verify", "shop", "more"), ("verify",)])
def test_what_makes_no_sense_is_refused(data: Path, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["audit", *words, "--data", str(data)])
    assert done.exit_code != 0
