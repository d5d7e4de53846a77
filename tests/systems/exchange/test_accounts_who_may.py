"""Every public operation and page of the exchange, as nobody, trader, watcher and administrator; and what is others'.

The table is made from the contracts and from the routes of the pages: what is new is tried as soon as it is there.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from desk_stage import HOST, Stage, Trader, Visitor, exchange_running

from archstone.context import ANYONE, NOBODY, Principal
from archstone.security import Guard, Tokens
from archstone.services import Operation
from archstone.services.http import Response, ask
from archstone.systems.exchange.accounts.contract import Accounts
from archstone.systems.exchange.clearing import Clearing
from archstone.systems.exchange.roles import ROLES
from archstone.systems.exchange.system import exchange
from archstone.systems.exchange.web.routes import ROUTES, Route

pytestmark = pytest.mark.sqlite_only("who may is decided before a database is asked")

PUBLIC: Final = [operation for operation in exchange.operations if operation.public]
WHO: Final = {
    "nobody": NOBODY,
    "trader": Principal("901", frozenset({"trader"})),
    "watcher": Principal("902", frozenset({"watcher"})),
    "admin": Principal("903", frozenset({"admin"})),
    "service": Principal("service:desk", frozenset({"service"})),
    "somebody with a role that the exchange does not know": Principal("904", frozenset({"emperor"})),
}
FILLED: Final = {"account": "1", "entry": "1", "alert": "1", "symbol": "ACME", "number": "7", "id": "0" * 32}
"""Something for each part of a path; accounts, orders, entries and alerts that are there or not, it does not matter."""
THEIRS: Final = {"account", "number", "id", "entry", "alert"}
"""Names of what belongs to somebody."""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with exchange_running(tmp_path / "exchange") as stage:
        yield stage


async def send(
    stage: Stage, operation: Operation, headers: list[tuple[str, str]], given: Mapping[str, str] = FILLED
) -> Response:
    path = operation.path
    for name in [each.name for each in operation.parameters if each.where == "path"]:
        path = path.replace(f"{{{name}}}", {**FILLED, **given}[name])
    more = [*headers, ("content-type", "application/json"), ("idempotency-key", "k")]
    body = b"" if operation.kind == "query" else b"{}"
    return await ask(stage.run.asgi, operation.method, f"/api/v1{path}", headers=more, body=body)


def bearer(stage: Stage, who: Principal) -> list[tuple[str, str]]:
    if not who.signed_in:
        return []
    return [("authorization", f"Bearer {stage.run.parts.provided[Tokens].issue(who).text}")]


def refused_at_the_door(answer: Response) -> bool:
    code = json.loads(answer.body)["type"].removeprefix("urn:archstone:error:") if answer.status >= 400 else ""
    return code in {"archstone.not-signed-in", "archstone.forbidden"}


async def test_every_operation_lets_in_who_may_and_nobody_else(stage: Stage) -> None:
    wrong: list[str] = []
    for operation in PUBLIC:
        for name, who in WHO.items():
            answer = await send(stage, operation, bearer(stage, who))
            may = operation.requires == ANYONE or (who.signed_in and operation.requires in ROLES.granted(who.roles))
            expected = not refused_at_the_door(answer) if may else answer.status == (403 if who.signed_in else 401)
            if not expected or answer.status >= 500 or may == refused_at_the_door(answer):
                wrong.append(f"{operation.full_name} as {name}: {answer.status} {answer.body[:200]!r}")
    assert wrong == []


def test_the_table_tells_roles_apart() -> None:
    """Else a check that lets everybody in would pass the one above."""
    may = {
        name: {each.full_name for each in PUBLIC if each.requires in ROLES.granted(who.roles)}
        for name, who in WHO.items()
    }
    assert may["nobody"] == may["service"] == set()
    assert may["trader"] < may["watcher"] < may["admin"]
    assert "Risk.kill_all" in may["admin"] - may["watcher"]
    assert "Risk.accounts" in may["watcher"] - may["trader"]


def test_a_watcher_changes_nothing_that_is_not_its_own() -> None:
    watcher, trader = ROLES.granted(frozenset({"watcher"})), ROLES.granted(frozenset({"trader"}))
    assert {each.full_name for each in PUBLIC if each.requires in watcher - trader and each.kind == "command"} == set()


# What is somebody else's


async def with_everything(stage: Stage) -> tuple[Trader, dict[str, str]]:
    """Return somebody with an order that works, a key, and a booked trade, and the names of all that is theirs."""
    ann, bob = await stage.trader(), await stage.trader()
    await ann.place("sell", 10, 10_050, number=777)
    await bob.place("buy", 4, 10_060)
    made = await stage.client(Accounts, principal(ann)).make_key("annas-own-key")
    return ann, {"account": str(ann.account), "number": "777", "id": made.key.id}


def principal(trader: Trader) -> Principal:
    return Principal(str(trader.account), frozenset({"trader"}))


async def standing(stage: Stage, trader: Trader) -> list[object]:
    """Return all that an account has."""
    accounts = stage.client(Accounts, principal(trader))
    trading = trader.trading
    return [await accounts.me(), await accounts.keys(), await trading.orders(), await trading.portfolio(),
            await trading.limits(), await trading.fills()]  # fmt: skip


async def tried(stage: Stage, ann: Trader, ids: Mapping[str, str], thief: Trader) -> None:
    """Try all that is `ann`'s as `thief`: nothing is told, nothing changes."""
    before = await standing(stage, ann)
    mine = [("authorization", f"Bearer {thief.session.access_token}")]
    for operation in PUBLIC:
        if not THEIRS & {each.name for each in operation.parameters}:
            continue
        answer = await send(stage, operation, mine, ids)
        told = answer.body.decode()
        where = f"{operation.full_name}: {answer.status} {told[:200]}"
        assert answer.status in {200, 400, 403, 404}, where
        if answer.status == 200:
            assert not any(value for value in json.loads(told).values() if isinstance(value, list)), where
    assert await standing(stage, ann) == before


async def test_attack_everything_of_one_account_by_another(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, ids = await with_everything(stage)
    thief = await stage.trader()
    own = stage.client(Clearing, principal(ann))
    assert (await booked(own, ann.account)).balances, "her own she sees"
    await tried(stage, ann, ids, thief)
    # Weak: who may see a statement may see all statements.
    monkeypatch.setattr(Guard, "allows", lambda *_, **__: True)
    with pytest.raises(AssertionError, match=r"Clearing\.balances: 200"):
        await tried(stage, ann, ids, thief)


async def booked(clearing: Clearing, account: int) -> Any:
    async with asyncio.timeout(60):
        while not (found := await clearing.balances(account)).balances:
            await asyncio.sleep(0.5)
    return found


# Pages


def filled(route: Route) -> str:
    parts = {"symbol": "ACME", "key": "0" * 32, "account": "1001"}
    return re.sub(r"\{(\w+)\}", lambda hole: parts[hole[1]], route.path)


CHANGING: Final = [route for route in ROUTES if route.method == "POST"]


@pytest.mark.parametrize("route", CHANGING, ids=lambda route: route.path)
async def test_no_page_of_another_site_changes_anything(stage: Stage, route: Route) -> None:
    visitor = Visitor(stage.run.asgi)
    await visitor.post("/trial")
    session = dict(visitor.cookies)
    for origin in ("https://evil.example", f"https://{HOST}", "null"):
        visitor.origin = origin
        answer = await visitor.post(filled(route), theme="dark", name="x", quantity="1", kind="market", side="buy")
        assert answer.status == 403, (route.path, origin)
        assert (answer.cookies, visitor.cookies) == ([], session)


async def test_pages_that_change_something_are_for_who_has_signed_in_or_is_about_to() -> None:
    open_to_all = {route.path for route in CHANGING if not route.signed_in}
    assert open_to_all == {"/trial", "/login", "/register", "/logout", "/theme"}


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if each.requires], ids=lambda each: f"{each.method} {each.path}"
)
async def test_pages_of_risk_are_refused_to_traders_and_strangers(stage: Stage, route: Route) -> None:
    visitor = Visitor(stage.run.asgi)
    go = visitor.get if route.method == "GET" else visitor.post
    assert (await go(filled(route))).headers["location"].startswith("/login")
    await visitor.post("/trial")
    assert (await go(filled(route))).status == 403
