"""What fits the contracts, and what nearly does, sent to every public operation as every role: never our failure."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from desk_stage import exchange_running
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from archstone.context import NOBODY, Principal
from archstone.security import Tokens
from archstone.services import Operation
from archstone.services.http import ask
from archstone.systems.exchange.system import exchange

pytestmark = pytest.mark.sqlite_only("bad input is refused before a database is asked")

PUBLIC: Final = [operation for operation in exchange.operations if operation.public]
ROLES: Final = ("nobody", "trader", "watcher", "admin", "admin", "admin")
"""Who may do most is tried most: others are turned away at the door."""
JUNK: Final = st.sampled_from(
    [None, "", "\x00", "ACME", -1, 0, 1, 2**31, 2**63, 2**64, 1e308, [], {}, [[]], True, "9" * 400, "1970-01-01"]
)
FORMATS: Final = {
    "date": st.dates().map(str),
    "date-time": st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat()),
}
EXAMPLES: Final = 750

Request = tuple[Operation, str, dict[str, Any]]


Schema = dict[str, Any]


def fitting(schema: Schema, whole: Schema) -> st.SearchStrategy[Any]:
    """Return values of a JSON schema, as far as pydantic writes them."""
    if "$ref" in schema:
        return fitting(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return st.one_of([fitting(each, whole) for each in schema["anyOf"]])
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    return KINDS[schema.get("type", "null")](schema, whole)


def integers(schema: Schema, _: Schema) -> st.SearchStrategy[Any]:
    return st.integers(schema.get("minimum"), schema.get("maximum"))


def texts(schema: Schema, _: Schema) -> st.SearchStrategy[Any]:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    return st.text(min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 20), 20))


def arrays(schema: Schema, whole: Schema) -> st.SearchStrategy[Any]:
    return st.lists(fitting(schema["items"], whole), max_size=3)


def objects(schema: Schema, whole: Schema) -> st.SearchStrategy[Any]:
    fields = {name: fitting(each, whole) for name, each in schema["properties"].items()}
    must = {name: each for name, each in fields.items() if name in schema.get("required", ())}
    return st.fixed_dictionaries(must, optional={name: each for name, each in fields.items() if name not in must})


KINDS: Final[dict[str, Callable[[Schema, Schema], st.SearchStrategy[Any]]]] = {
    "integer": integers, "string": texts, "array": arrays, "object": objects,
    "boolean": lambda *_: st.booleans(), "null": lambda *_: st.none(),
}  # fmt: skip


def drawn() -> list[Request]:
    """Return requests, as many of each operation: each argument as its type says, or junk, or left out."""
    return [request for operation in PUBLIC for request in drawn_of(operation)]


def drawn_of(operation: Operation) -> list[Request]:
    schemas = {one.name: one.adapter.json_schema() for one in operation.parameters}
    each = {name: fitting(schema, schema) | JUNK for name, schema in sorted(schemas.items())}
    found: list[Request] = []

    @settings(
        max_examples=EXAMPLES // len(PUBLIC), derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    @given(st.sampled_from(ROLES), st.fixed_dictionaries({}, optional=each))
    def draw(role: str, arguments: dict[str, Any]) -> None:
        found.append((operation, role, arguments))

    draw()
    return found


async def test_nothing_that_is_sent_is_a_failure_of_ours(tmp_path: Path) -> None:
    requests = drawn()
    statuses: Counter[int] = Counter()
    failures: list[str] = []
    async with exchange_running(tmp_path / "exchange") as stage:
        tokens = stage.run.parts.provided[Tokens]
        for number, (operation, role, values) in enumerate(requests):
            who = NOBODY if role == "nobody" else Principal(str(1 + ROLES.index(role)), frozenset({role}))
            headers = [("content-type", "application/json"), ("idempotency-key", f"fuzz-{number}")]
            if who.signed_in:
                headers.append(("authorization", f"Bearer {tokens.issue(who).text}"))
            target, body = written(operation, values)
            answer = await ask(stage.run.asgi, operation.method, target, headers=headers, body=body)
            statuses[answer.status] += 1
            if answer.status >= 500:
                failures.append(
                    f"{operation.full_name} as {role} with {values!r}: {answer.status} {answer.body[:200]!r}"
                )
            await asyncio.sleep(0.1)  # of virtual time: within the limits of requests
        trader = await stage.trader()
        assert (await trader.trading.portfolio()).account == trader.account, "it goes on"
    assert failures == []
    assert {200, 400, 401, 403} <= {*statuses}
    assert statuses[429] < EXAMPLES / 10, "else little was tried"


def written(operation: Operation, values: dict[str, Any]) -> tuple[str, bytes]:
    """Return the path with its query string, and the body."""
    where = {each.name: each.where for each in operation.parameters}
    path, query, body = operation.path, [], {}
    for name, place in where.items():
        if place == "path":
            path = path.replace(f"{{{name}}}", quote(text(values.get(name, "x")), safe="") or "x")
        elif name in values and place == "query":
            query.append((name, text(values[name])))
        elif name in values:
            body[name] = values[name]
    sent = b"" if operation.kind == "query" else json.dumps(body).encode()
    return f"/api/v1{path}{'?' + urlencode(query) if query else ''}", sent


def text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


EDGES: Final = [
    *(
        ("POST", f"/surveillance/alerts/{number}/verdict", {"verdict": "abuse", "note": "x"})
        for number in (2**63, 2**80)
    ),
    ("POST", f"/surveillance/alerts/{2**63 - 1}/verdict", {"verdict": "abuse", "note": "x"}),
    *(("GET", f"/surveillance/alerts?before={number}", None) for number in (1, 2**63 - 1, 2**63)),
    *(("GET", f"/clearing/accounts/1/statement?after={number}", None) for number in (0, 2**63 - 2, 2**63 - 1, 2**63)),
    *(("POST", f"/clearing/entries/{number}/reversal", {"reason": "x"}) for number in (2**63 - 1, 2**63)),
    *(("GET", f"/market/ACME/candles?after={at}", None) for at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")),
    ("GET", "/market/ACME/average?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59-12:00", None),
    *(("GET", f"/clearing/accounts/1/statement?day={day}", None) for day in ("0001-01-01", "9999-12-31")),
]
"""The last that a database takes, and the first that it does not."""


async def test_numbers_and_days_at_the_edge_are_answered(tmp_path: Path) -> None:
    async with exchange_running(tmp_path / "exchange") as stage:
        token = stage.run.parts.provided[Tokens].issue(Principal("1", frozenset({"admin"}))).text
        failed: list[str] = []
        for number, (method, target, body) in enumerate(EDGES):
            headers = [("authorization", f"Bearer {token}"), ("content-type", "application/json")]
            headers.append(("idempotency-key", f"edge-{number}"))
            sent = b"" if body is None else json.dumps(body).encode()
            answer = await ask(stage.run.asgi, method, f"/api/v1{target}", headers=headers, body=sent)
            if answer.status not in {200, 400, 404}:
                failed.append(f"{method} {target}: {answer.status} {answer.body!r}")
        assert failed == []
