"""Every public operation of the shop, as nobody, customer, support and administrator; and what is not one's own.

The table is made from the contracts: a new operation is tried as soon as it is there, and one that takes an id and is
missing below fails. What is somebody else's is tried with every id of theirs on every operation that takes one: nothing
is told, and not a row changes in any database.
"""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from wiring import eventually, keyed, running

from archstone.context import ANYONE, NOBODY, Principal
from archstone.runtime import Embedded
from archstone.security import Guard, Tokens
from archstone.services import Operation
from archstone.services.http import Response, ask
from archstone.systems.shop.orders.contract import Orders, OrderUnknownError
from archstone.systems.shop.roles import ROLES
from archstone.systems.shop.system import shop
from archstone.systems.shop.users.contract import BrowserSessions, UserAdmin, UserRead, UserWrite, browser_mark
from archstone.systems.shop.values import Address, Line

pytestmark = pytest.mark.sqlite_only("who may is decided before a database is asked, and files can be compared")

PUBLIC = [operation for operation in shop.operations if operation.public]
SKU = "KIT-001"
STRANGER = "0" * 32
WHO = {
    "nobody": NOBODY,
    "customer": Principal("1" * 32, frozenset({"customer"})),
    "support": Principal("2" * 32, frozenset({"customer", "support"})),
    "admin": Principal("3" * 32, frozenset({"customer", "admin"})),
    "service": Principal("service:orders", frozenset({"service"})),
    "somebody with a role that the shop does not know": Principal("4" * 32, frozenset({"emperor"})),
}
FILLED = {
    "order_id": STRANGER, "user_id": STRANGER, "refund_id": STRANGER, "sku": SKU, "cart": "me", "role": "customer",
    "email": "x@example.org", "passkey_id": STRANGER,
}  # fmt: skip
REST: Mapping[str, dict[str, Any]] = {
    "OrderAdmin.refund": {"reason": "a gift"},
    "UserAdmin.deactivate": {"reason": "a test"},
    "UserAdmin.grant": {"role": "admin"},
    "UserAdmin.withdraw": {"role": "customer"},
    "UserWrite.change_password": {"current": "a loud morning", "new": "another quiet evening"},
}
"""What operations that take an id want besides."""
IDS = {"order_id", "user_id", "refund_id", "email", "browser", "cart"}
KNOWN = {
    # An address is what they are asked with.
    "UserWrite.register", "Sessions.login", "Recovery.ask_reset", "SignUps.ask_sign_up",
    "Carts.cart", "Carts.size", "Carts.put", "Carts.clear",  # a guest's name for a cart is a secret, and its only key
}  # fmt: skip
"""Operations that take an id and whose refusal is tried elsewhere."""


def bearer(run: Embedded, who: Principal) -> list[tuple[str, str]]:
    if not who.signed_in:
        return []
    return [("authorization", f"Bearer {run.parts.provided[Tokens].issue(who).text}")]


async def send(run: Embedded, operation: Operation, who: Principal, given: Mapping[str, Any]) -> Response:
    """Call an operation with what is given, and with something for the rest of its path."""
    path, values = operation.path, {**FILLED, **given}
    for name in [each.name for each in operation.parameters if each.where == "path"]:
        path = path.replace(f"{{{name}}}", str(values[name]))
    wanted = {each.name for each in operation.parameters if each.where == "body"}
    fields = {**REST.get(operation.full_name, {}), **{name: value for name, value in given.items() if name in wanted}}
    headers = [*bearer(run, who), ("content-type", "application/json")]
    if operation.key_required:
        headers.append(("idempotency-key", "k"))
    body = b"" if operation.kind == "query" else json.dumps(fields).encode()
    return await ask(run.asgi, operation.method, f"/api/v1{path}", headers=headers, body=body)


def code_of(answer: Response) -> str:
    return str(json.loads(answer.body)["type"]).removeprefix("urn:archstone:error:") if answer.status >= 400 else ""


def refused_at_the_door(answer: Response) -> bool:
    return code_of(answer) in {"archstone.not-signed-in", "archstone.forbidden"}


async def test_every_operation_lets_in_who_may_and_nobody_else(tmp_path: Path) -> None:
    async with running(shop, data=tmp_path) as run:
        wrong: list[str] = []
        for operation in PUBLIC:
            for name, who in WHO.items():
                answer = await send(run, operation, who, {})
                may = operation.requires == ANYONE or bool(
                    who.signed_in and operation.requires in ROLES.granted(who.roles)
                )
                expected = 401 if not who.signed_in else 403
                fits = (
                    not refused_at_the_door(answer)
                    if may
                    else answer.status == expected and refused_at_the_door(answer)
                )
                if not fits or answer.status >= 500:
                    wrong.append(f"{operation.full_name} as {name}: {answer.status} {answer.body[:200]!r}")
        assert wrong == []


def test_the_table_tells_roles_apart() -> None:
    """Else a check that lets everybody in would pass the one above."""
    may = {
        name: {each.full_name for each in PUBLIC if each.requires in ROLES.granted(who.roles)}
        for name, who in WHO.items()
    }
    assert may["nobody"] == may["service"] == set()
    assert may["customer"] < may["support"] < may["admin"]
    assert "OrderAdmin.refund" in may["admin"] - may["support"]
    assert "OrderAdmin.dossier" in may["support"] - may["customer"]


def test_support_changes_nothing_that_is_not_its_own() -> None:
    support, customer = ROLES.granted(frozenset({"support"})), ROLES.granted(frozenset({"customer"}))
    more = {each.full_name for each in PUBLIC if each.requires in support - customer and each.kind == "command"}
    assert more == set()


class Everything:
    """A customer with one of everything."""

    def __init__(self, who: Principal, name: str, email: str) -> None:
        self.who = who
        self.name = name
        self.email = email
        self.ids: dict[str, str] = {}

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.name, self.email, f"{self.name} Lane")


async def with_everything(run: Embedded, name: str) -> Everything:
    email, password = f"{name.lower()}@example.org", "a quiet evening"
    user = await run.client(UserWrite).register(email, password, name)
    found = Everything(Principal(user.id, frozenset(user.roles)), name, email)
    address = Address(name=name, street=f"{name} Lane 1", city="Tarn", postcode="12345", country="DE")
    with keyed(f"order of {name}"):
        order = await run.client(Orders, as_=found.who).place((Line(sku=SKU, quantity=1),), address, "tok_ok")
    pages = Principal("service:pages", frozenset({"service"}))
    session = await run.client(BrowserSessions, as_=pages).begin(email, password)
    found.ids = {
        "order_id": order.id, "user_id": user.id, "email": email, "browser": browser_mark(session.token),
        "cart": user.id, "refund_id": STRANGER,
    }  # fmt: skip

    async def settled() -> bool:
        return (await run.client(Orders, as_=found.who).order(order.id)).status == "confirmed"

    await eventually(settled)
    return found


def rows_of(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table of every service."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for file in sorted(folder.glob("*.db")):
        if file.stem in {"traces", "bus", "audit"}:  # what was refused is on record
            continue
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in sorted(tables):
                found[f"{file.stem}.{table}"] = sorted(db.execute(f'SELECT * FROM "{table}"').fetchall(), key=repr)
        db.close()
    return found


def taking_ids() -> list[Operation]:
    return [each for each in PUBLIC if IDS & {one.name for one in each.parameters} and each.full_name not in KNOWN]


async def tried(run: Embedded, folder: Path, thief: Everything, owner: Everything) -> None:
    """Try every id of `owner` as `thief`: nothing is told, nothing changes."""
    await run.client(UserRead, as_=owner.who).me()
    before = rows_of(folder)
    assert sum(map(len, before.values())) > 100
    for operation in taking_ids():
        answer = await send(run, operation, thief.who, owner.ids)
        told = answer.body.decode()
        where = f"{operation.full_name}: {answer.status} {told[:200]}"
        assert answer.status in {400, 403, 404}, where
        assert not [secret for secret in owner.secrets if secret in told.replace(owner.email, "", 1)], where
    assert rows_of(folder) == before


async def test_attack_everything_of_one_customer_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(shop, data=tmp_path) as run:
        ann, bob = await with_everything(run, "Annabella"), await with_everything(run, "Bartholomew")
        for operation in taking_ids():
            if operation.requires == "orders:read":
                assert (await send(run, operation, ann.who, ann.ids)).status == 200, "her own she sees"
        await at_rest(run)
        await tried(run, tmp_path, bob, ann)
        await tried(run, tmp_path, ann, bob)
        # Weak: who may see orders may see all orders.
        monkeypatch.setattr(Guard, "allows", lambda *_, **__: True)
        with pytest.raises(AssertionError, match=r"Payments\.invoice: 200"):
            await tried(run, tmp_path, bob, ann)


async def at_rest(run: Embedded) -> None:
    async def quiet() -> bool:
        for part in run.parts.services.values():
            if await part.database.one(int, "SELECT count(*) FROM _archstone_outbox"):
                return False
            if part.dispatcher.sagas is not None and part.dispatcher.sagas.statistics().running:
                return False
        return True

    await eventually(quiet)


async def test_what_is_not_theirs_is_told_to_who_keeps_watch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    guard = Guard.allows

    async with running(shop, data=tmp_path) as run:
        access = run.parts.access
        assert isinstance(access, Guard)
        access._tell = told.append
        ann, bob = await with_everything(run, "Annabella"), await with_everything(run, "Bartholomew")
        (order,) = [each for each in PUBLIC if each.full_name == "Orders.order"]
        assert (await send(run, order, bob.who, ann.ids)).status == 404
        (refund,) = [each for each in PUBLIC if each.full_name == "OrderAdmin.refund"]
        assert (await send(run, refund, bob.who, ann.ids)).status == 403
        assert (await send(run, refund, NOBODY, ann.ids)).status == 401
    assert guard is Guard.allows
    assert [(each.what, each.why, each.row, each.principal.id) for each in told] == [
        ("ChoreographedOrders", "not theirs", ann.ids["order_id"], bob.who.id),
        ("OrderAdmin.refund", "no permission", None, bob.who.id),
        ("OrderAdmin.refund", "not signed in", None, ""),
    ]
    assert all(each.correlation_id for each in told)


async def test_support_is_a_role_that_is_granted_and_sees_what_customers_ask_about(tmp_path: Path) -> None:
    async with running(shop, data=tmp_path) as run:
        ann = await with_everything(run, "Annabella")
        root = Principal("operator", frozenset({"admin"}))
        sue = await run.client(UserWrite).register("sue@example.org", "a quiet evening", "Sue")
        granted = await run.client(UserAdmin, as_=root).grant("sue@example.org", "support")
        assert granted.roles == ("customer", "support")
        who = Principal(sue.id, frozenset(granted.roles))
        orders = run.client(Orders, as_=who)
        assert (await orders.order(ann.ids["order_id"])).address.name == ann.name
        with pytest.raises(OrderUnknownError):
            await orders.cancel(ann.ids["order_id"])
        page = await run.client(UserAdmin, as_=who).users(role="support")
        assert [each.email for each in page.items] == ["sue@example.org"]
        assert (await run.client(Orders, as_=root).cancel(ann.ids["order_id"])).status in {"confirmed", "cancelled"}
