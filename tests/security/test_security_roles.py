"""What roles may, whose a thing is, who is told of refusals; the same guard on plain functions, FastAPI and Flask."""

import json
import logging
from dataclasses import dataclass
from enum import StrEnum

import flask
import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from archstone import context
from archstone.context import NOBODY, SIGNED_IN, Call, Denied, Principal
from archstone.errors import ArchstoneError, ConfigError, ForbiddenError, NotSignedInError
from archstone.security import SERVICE, Guard, Role, Roles, Rule


class Permission(StrEnum):
    """As the guide has it."""

    READ_USER = "user:read"
    WRITE_USER = "user:write"
    DELETE_USER = "user:delete"
    WRITE_ADMIN = "admin:write"


USER = Role("user", may=(Permission.READ_USER,))
MODERATOR = Role("moderator", may=(Permission.WRITE_USER,), above=(USER,))
ADMIN = Role("admin", may=(Permission.DELETE_USER,), above=(MODERATOR,))
SUPER_ADMIN = Role("super_admin", may=(Permission.WRITE_ADMIN,), above=(ADMIN,))
ROLES = Roles(USER, MODERATOR, ADMIN, SUPER_ADMIN)

ANN = Principal("ann", frozenset({"user"}))
MO = Principal("mo", frozenset({"moderator"}))
ADA = Principal("ada", frozenset({"admin"}))


@dataclass
class Note:
    owner: str


OWN_NOTE: Rule[Note] = Rule("own note", lambda who, note: who.id == note.owner, unless=Permission.WRITE_USER)


@pytest.fixture
def told() -> list[Denied]:
    return []


@pytest.fixture
def guard(told: list[Denied]) -> Guard:
    return ROLES.guard(on_denied=told.append)


def test_a_role_has_what_the_roles_below_it_have() -> None:
    assert ADMIN.permissions == {"user:read", "user:write", "user:delete"}
    assert ROLES.holders("user:write") == ("moderator", "admin", "super_admin")
    assert ROLES.holders("user:read") == ("user", "moderator", "admin", "super_admin")
    assert ROLES.holders("user:fly") == ()


def test_several_roles_add_up_and_unknown_ones_grant_nothing() -> None:
    roles = Roles(Role("a", may=("x:do",)), Role("b", may=("y:do",)))
    assert roles.granted(frozenset({"a", "b", "emperor"})) == {"a", "b", "x:do", "y:do"}
    assert roles.granted(frozenset({"emperor"})) == frozenset()
    assert roles.granted(frozenset()) == frozenset()


def test_every_table_knows_services() -> None:
    assert ROLES.roles["service"] is SERVICE
    assert SERVICE.permissions == frozenset()


def test_faults_of_a_table_are_told_when_it_is_made() -> None:
    with pytest.raises(ConfigError, match="'WRITE'"):
        Role("user", may=("WRITE", "user:read"))
    with pytest.raises(ConfigError, match="its name"):
        Role("A User")
    with pytest.raises(ConfigError, match="two roles are named 'user'"):
        Roles(USER, Role("user", may=("user:fly",)))


def test_who_may_passes_and_nobody_is_told(guard: Guard, told: list[Denied]) -> None:
    guard.check("delete", "user:delete", ADA)
    guard.check("look", SIGNED_IN, Principal("bob"))
    assert told == []


def test_who_may_not_is_refused_and_somebody_is_told(guard: Guard, told: list[Denied]) -> None:
    with context.enter(Call(correlation_id="c1")), pytest.raises(ForbiddenError, match="delete: needs 'user:delete'"):
        guard.check("delete", "user:delete", MO)
    with pytest.raises(NotSignedInError):
        guard.check("look", SIGNED_IN, NOBODY)
    assert told == [
        Denied("delete", "user:delete", MO, "no permission", None, "c1"),
        Denied("look", SIGNED_IN, NOBODY, "not signed in"),
    ]


def test_a_row_is_its_owners_or_theirs_who_stand_above(guard: Guard, told: list[Denied]) -> None:
    note = Note("ann")
    assert guard.allows("Notes.read", OWN_NOTE, note, ANN, name="n1")
    assert guard.allows("Notes.read", OWN_NOTE, note, MO, name="n1")
    assert told == []
    assert not guard.allows("Notes.read", OWN_NOTE, note, Principal("bob", frozenset({"user"})), name="n1")
    assert not guard.allows("Notes.read", OWN_NOTE, Note(""), NOBODY, name="n2")
    assert [(each.why, each.requires, each.row) for each in told] == [
        ("not theirs", "own note", "n1"),
        ("not theirs", "own note", "n2"),
    ]


def test_who_keeps_watch_may_fail_and_the_refusal_stands(caplog: pytest.LogCaptureFixture) -> None:
    def broken(denied: Denied) -> None:
        raise OSError("the disk is full")

    with caplog.at_level(logging.ERROR), pytest.raises(ForbiddenError):
        ROLES.guard(on_denied=broken).check("delete", "user:delete", ANN)


def test_a_permission_that_no_role_has_cannot_be_required(guard: Guard) -> None:
    with pytest.raises(ConfigError, match=r"'user:wirte'.*no role has it.*user:write"):
        guard.require("user:wirte")


def test_a_generator_cannot_be_guarded(guard: Guard) -> None:
    with pytest.raises(ConfigError, match="generator"):

        @guard.require("user:read")
        def rows():
            yield 1


def test_plain_functions(guard: Guard, told: list[Denied]) -> None:
    entered: list[str] = []

    @guard.require(Permission.DELETE_USER)
    def delete_user(user_id: str) -> str:
        entered.append(user_id)
        return "gone"

    with context.enter(Call(ADA)):
        assert delete_user("u1") == "gone"
    with context.enter(Call(ANN)), pytest.raises(ForbiddenError):
        delete_user("u2")
    assert entered == ["u1"]
    assert told[0].what.endswith("delete_user")


async def test_coroutine_functions(guard: Guard) -> None:
    @guard.require("user:read")
    async def look() -> str:
        return "seen"

    with context.enter(Call(ANN)):
        assert await look() == "seen"
    with pytest.raises(NotSignedInError):
        await look()


@pytest.mark.real_time
async def test_fastapi(guard: Guard) -> None:
    app = FastAPI()

    @app.middleware("http")
    async def signed_in(request: Request, call_next):
        roles = request.headers.get("x-roles", "")
        who = Principal("somebody", frozenset(roles.split(","))) if roles else NOBODY
        with context.enter(Call(who)):
            return await call_next(request)

    @app.exception_handler(ArchstoneError)
    async def refused(request: Request, error: ArchstoneError) -> JSONResponse:
        return JSONResponse({"code": error.code}, error.status)

    @app.delete("/users/{user_id}")
    @guard.require("user:delete")
    async def delete_user(user_id: int) -> dict[str, int]:
        return {"deleted": user_id}

    @app.get("/users/{user_id}")
    @guard.require("user:read")
    def user(user_id: int) -> dict[str, int]:  # FastAPI runs it in a thread
        return {"id": user_id}

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        assert (await http.delete("/users/7", headers={"x-roles": "admin"})).json() == {"deleted": 7}
        assert (await http.delete("/users/7", headers={"x-roles": "user"})).status_code == 403
        assert (await http.delete("/users/7")).status_code == 401
        assert (await http.get("/users/7", headers={"x-roles": "user"})).json() == {"id": 7}
        assert (await http.get("/users/7", headers={"x-roles": "none"})).status_code == 403


def test_flask(told: list[Denied]) -> None:
    guard = ROLES.guard(on_denied=told.append, who=lambda: flask.g.get("who", NOBODY))
    app = flask.Flask("notes")

    @app.before_request
    def sign_in() -> None:
        if roles := flask.request.headers.get("x-roles"):
            flask.g.who = Principal("somebody", frozenset(roles.split(",")))

    @app.errorhandler(ArchstoneError)
    def refused(error: ArchstoneError):
        return {"code": error.code}, error.status

    @app.delete("/users/<int:user_id>")
    @guard.require("user:delete")
    def delete_user(user_id: int):
        return {"deleted": user_id}

    http = app.test_client()
    assert http.delete("/users/7", headers={"x-roles": "admin"}).json == {"deleted": 7}
    assert http.delete("/users/7", headers={"x-roles": "user"}).status_code == 403
    assert http.delete("/users/7").status_code == 401
    assert [each.why for each in told] == ["no permission", "not signed in"]


def test_the_shop_tells_who_may_do_what() -> None:
    from typer.testing import CliRunner

    from archstone.cli.verbs import app

    told = CliRunner().invoke(app, ["roles", "shop", "--json"])
    rows = {each["operation"]: each for each in json.loads(told.stdout)["operations"]}
    assert rows["OrderAdmin.refund"]["roles"] == ["admin"]
    assert rows["OrderAdmin.dossier"]["roles"] == ["support", "admin"]
    assert rows["Orders.place"]["roles"] == ["customer", "support", "admin"]
    assert rows["Catalog.products"]["roles"] == ["anybody"]
    assert "Payments.charge" not in rows
    table = CliRunner().invoke(app, ["roles", "shop", "--inner"])
    assert "Payments.charge" in table.stdout


def test_by_default_refusals_of_who_is_signed_in_are_logged_and_all_are_counted() -> None:
    import io

    from archstone.observability import configure_logging, render

    stream = io.BytesIO()
    configure_logging("info", stream=stream)
    guard = ROLES.guard()
    try:
        for who in (NOBODY, ANN):
            with pytest.raises((NotSignedInError, ForbiddenError)):
                guard.check("a test of logs", "user:delete", who)
    finally:
        configure_logging("warning", json=False)
    (line,) = [json.loads(each) for each in stream.getvalue().splitlines() if b"a test of logs" in each]
    assert (line["principal"], line["requires"], line["why"]) == ("ann", "user:delete", "no permission")
    counted = [
        each for each in render().splitlines() if each.startswith("archstone_denied") and "a test of logs" in each
    ]
    assert len(counted) == 2
