"""A contract and a transport that the HTTP tests share."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from archstone import context
from archstone.context import Call, Principal
from archstone.errors import DeniedError, DomainError
from archstone.services import ANYONE, SIGNED_IN, Contract, Operation, command, operations, query
from archstone.services.http import ContractApp, Response


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)
    sku: str = Field(min_length=1, max_length=40)
    quantity: int = Field(gt=0, le=1000)


class Stock(BaseModel):
    model_config = ConfigDict(frozen=True)
    sku: str
    free: int


class OutOfStock(DomainError, code="http-test.out-of-stock", status=409):
    """There is not enough of it. The rest of the sentence is not the title."""

    def __init__(self, sku: str, free: int) -> None:
        super().__init__(sku, free)
        self.sku = sku
        self.free = free

    def __str__(self) -> str:
        return f"only {self.free} of {self.sku!r} are left"


class Closed(DomainError, code="http-test.closed", status=423):
    """The shop is closed."""


class Depot(Contract, version="1.0"):
    """Stock <b>and</b> reservations."""

    @query("/stock/{sku}", public=True, requires=ANYONE, raises=(OutOfStock, Closed))
    async def stock(self, sku: str, least: int | None = None, tags: tuple[str, ...] = ()) -> Stock:
        """Say how much there is."""
        ...

    @query("/stock/all", public=True, requires=ANYONE)
    async def everything(self, size: Annotated[int, Field(ge=0, le=100)] = 1) -> tuple[Stock, ...]: ...

    @query("/secrets", public=True, requires="admin")
    async def secrets(self) -> tuple[str, ...]: ...

    @query("/me", public=True, requires=SIGNED_IN)
    async def me(self) -> str: ...

    @command("/reservations", public=True, requires=SIGNED_IN, raises=(OutOfStock,), status=201)
    async def reserve(self, order_id: str, lines: tuple[Line, ...], weight: float = 1.0) -> Stock:
        """Hold some of it back."""
        ...

    @command(
        "/reservations/{order_id}", method="DELETE", public=True, requires=SIGNED_IN, status=204, key_required=False
    )
    async def release(self, order_id: str) -> None: ...

    @command("/notes", public=True, requires=ANYONE, key_required=False)
    async def note(self, text: str) -> str: ...

    @query("/inside")
    async def inside(self) -> str: ...


BY_NAME = {operation.name: operation for operation in operations(Depot)}


@dataclass
class Behind:
    """A transport that does what the test's arguments say, and remembers the calls."""

    calls: list[tuple[str, dict, Call]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        self.calls.append((operation.name, arguments, context.current()))
        try:
            return await getattr(self, operation.name)(**arguments)
        except asyncio.CancelledError:
            self.cancelled.append(operation.name)
            raise

    async def stock(self, sku, least, tags):
        match sku:
            case "none":
                raise OutOfStock(sku, 0)
            case "closed":
                raise Closed("until monday")
            case "bug":
                raise KeyError("/secret/path")
            case "wrong":
                return "no stock at all"
            case "slow":
                await asyncio.sleep(1000)
        return Stock(sku=sku, free=least or 3)

    async def everything(self, size):
        return tuple(Stock(sku=f"sku-{number}", free=number) for number in range(size))

    async def secrets(self):
        return ("treasure",)

    async def me(self):
        return context.current().principal.id

    async def reserve(self, order_id, lines, weight):
        if order_id == "none":
            raise OutOfStock("kettle", 2)
        if order_id == "slow":
            await asyncio.sleep(5)
        return Stock(sku=order_id, free=sum(line.quantity for line in lines))

    async def release(self, order_id):
        return None

    async def note(self, text):
        return text

    async def inside(self):
        return "inside"


class OpenCodec:
    """A PrincipalCodec that anybody can write: for tests."""

    def encode(self, principal: Principal) -> str:
        return f"{principal.id}|{','.join(sorted(principal.roles))}"

    def decode(self, text: str) -> Principal:
        name, mark, roles = text.partition("|")
        if not mark:
            raise DeniedError("not written by this system")
        return Principal(name, frozenset(roles.split(",")) - {""})


def app_of(behind: Behind, **settings) -> ContractApp:
    return ContractApp([(operation, behind) for operation in operations(Depot)], **settings)


def document(response: Response) -> dict:
    """Return the problem document of an answer, after checking that it is one and tells nothing it should not."""
    assert dict(response.headers)[b"content-type"] == b"application/problem+json"
    told = json.loads(response.body)
    assert told["status"] == response.status
    assert {"type", "title", "status", "instance"} <= told.keys()
    assert "Traceback" not in response.body.decode()
    assert "/secret/path" not in response.body.decode()
    return told


JSON = ("content-type", "application/json")
KEY = ("idempotency-key", "key-1")
ORDER = b'{"order_id": "o1", "lines": [{"sku": "kettle", "quantity": 2}]}'
