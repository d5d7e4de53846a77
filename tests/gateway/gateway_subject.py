"""A small public system behind a gateway, and a way to ask it."""

import asyncio
import json
from typing import Annotated

from pydantic import BaseModel, Field

from archstone import context
from archstone.context import Principal
from archstone.errors import DeniedError
from archstone.gateway import Gateway, GatewayParts
from archstone.services import ANYONE, SIGNED_IN, Contract, Operation, command, operations, query
from archstone.services.http import Response, ask

TOKENS = {
    "ann-token": Principal("ann", frozenset({"customer"})),
    "bob-token": Principal("bob", frozenset({"customer"})),
    "root-token": Principal("root", frozenset({"admin"})),
}


class Line(BaseModel, frozen=True):
    sku: str
    quantity: int = Field(gt=0, le=1000)


class Shop(Contract, version="1.0"):
    """What a customer sees."""

    @query("/products/{sku}", public=True, requires=ANYONE)
    async def product(self, sku: str, size: Annotated[int, Field(ge=0, le=400_000)] = 10) -> str: ...

    @query("/me", public=True, requires=SIGNED_IN)
    async def me(self) -> str: ...

    @query("/report", public=True, requires="admin")
    async def report(self) -> str: ...

    @command("/orders", public=True, requires=SIGNED_IN, status=202)
    async def place(self, lines: tuple[Line, ...], note: str = "") -> str: ...

    @command("/visits", public=True, requires=ANYONE, key_required=False)
    async def visit(self, page: str) -> str: ...

    @command("/sessions", public=True, requires=ANYONE, key_required=False, record=False)
    async def sign_in(self) -> str: ...

    @query("/inside")
    async def inside(self) -> str: ...


class Behind:
    """Answers, and remembers under which calls it was asked."""

    def __init__(self) -> None:
        self.calls: list[context.Call] = []

    async def call(self, operation: Operation, arguments: dict) -> object:
        self.calls.append(context.current())
        match operation.name:
            case "product" if arguments["sku"] == "slow":
                await asyncio.sleep(1)
                return "slow"
            case "product" if arguments["sku"] == "bug":
                raise KeyError("/secret/path")
            case "product":
                return arguments["sku"] + "x" * arguments["size"]
            case "place" if arguments["note"] == "slow":
                await asyncio.sleep(1)
        return context.current().principal.id


def verify(token: str) -> Principal:
    try:
        return TOKENS[token]
    except KeyError:
        raise DeniedError("unknown") from None


class Door:
    """A gateway, and short ways to ask it."""

    def __init__(self, gateway: Gateway | None = None, **parts) -> None:
        self.behind = Behind()
        routes = [(operation, self.behind) for operation in operations(Shop)]
        self.app = (gateway or Gateway()).build(GatewayParts(routes=routes, **{"verify": verify, **parts}))

    async def get(self, target: str, *, token: str | None = None, headers=(), **how) -> Response:
        return await ask(self.app, "GET", target, headers=[*bearer(token), *headers], **how)

    async def post(self, target: str, body: object, *, token: str | None = None, headers=(), **how) -> Response:
        sent = body if isinstance(body, bytes | list) else json.dumps(body).encode()
        headers = [("content-type", "application/json"), *bearer(token), *headers]
        return await ask(self.app, "POST", target, headers=headers, body=sent, **how)


def bearer(token: str | None) -> list[tuple[str, str]]:
    return [] if token is None else [("authorization", f"Bearer {token}")]


def header(response: Response, name: str) -> str | None:
    """Return a header that must not be given twice."""
    found = [value.decode() for key, value in response.headers if key == name.encode()]
    assert len(found) <= 1, (name, found)
    return found[0] if found else None


def problem_code(response: Response) -> str:
    """Return the code of a problem document, after checking that it is one and tells nothing it should not."""
    assert header(response, "content-type") == "application/problem+json"
    told = json.loads(response.body)
    assert told["status"] == response.status
    assert told["instance"] == header(response, "x-request-id")
    assert "Traceback" not in response.body.decode()
    assert "/secret/path" not in response.body.decode()
    return told["type"].removeprefix("urn:archstone:error:")
