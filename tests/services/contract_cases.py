"""What every way of calling a contract must do: one body of tests, a transport each.

A test class subclasses `ContractCases` and overrides `make_client`. All else is the same whichever way calls take.
"""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, NewType

import pytest
from pydantic import BaseModel, Field

from archstone import context, world
from archstone.context import NOBODY, Call, Principal
from archstone.data import Database
from archstone.errors import BackendError, DeadlineError, DomainError, RejectedError, RemoteError
from archstone.services import (
    ANYONE,
    SIGNED_IN,
    Contract,
    Dispatcher,
    ForbiddenError,
    KeyReusedError,
    NotSignedInError,
    RequestInvalidError,
    Service,
    command,
    options,
    query,
)

SKU = NewType("SKU", str)
Quantity = Annotated[int, Field(gt=0, le=1000)]

ANN = Principal("ann", frozenset({"customer"}))
ROOT = Principal("root", frozenset({"admin"}))


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Line(BaseModel, frozen=True):
    sku: SKU
    quantity: Quantity
    price: Decimal = Decimal("1.50")


class Stock(BaseModel, frozen=True):
    sku: SKU
    free: int
    held: int
    colours: tuple[Colour, ...] = ()


class OutOfStock(DomainError, code="inventory.out-of-stock", status=409):
    """There is not enough of it."""

    def __init__(self, sku: SKU, free: int) -> None:
        super().__init__(sku, free)
        self.sku = sku
        self.free = free

    def __str__(self) -> str:
        return f"{self.sku}: only {self.free} left"


class Broken(DomainError, code="inventory.broken", status=409):
    """Not declared anywhere."""


class Inventory(Contract, version="1.0"):
    """Stock, one row per SKU."""

    @query("/stock/{sku}", public=True, requires=ANYONE)
    async def stock(self, sku: SKU, *, colours: tuple[Colour, ...] = (), note: str | None = None) -> Stock: ...

    @command("/stock/{sku}", method="PUT", public=True, requires="admin", key_required=False)
    async def fill(self, sku: SKU, free: Annotated[int, Field(ge=0)]) -> None: ...

    @command("/reservations", public=True, requires=SIGNED_IN, raises=(OutOfStock,), status=201)
    async def reserve(self, lines: tuple[Line, ...], *, marks: frozenset[str] = frozenset()) -> tuple[Stock, ...]: ...

    @command("/secrets", record=False)
    async def secret(self) -> str: ...

    @query("/who")
    async def who(self) -> str: ...

    @query("/trouble/{kind}", requires=ANYONE)
    async def trouble(self, kind: str) -> int: ...

    @query("/slow", requires=ANYONE)
    async def slow(self, seconds: float) -> float: ...

    @command("/slow", requires=ANYONE)
    async def slow_fill(self, sku: SKU, seconds: float) -> int: ...


class InventoryService(Service, Inventory):
    async def stock(self, sku: SKU, *, colours: tuple[Colour, ...] = (), note: str | None = None) -> Stock:
        found = await self.db.first(tuple[int, int], "SELECT free, held FROM stock WHERE sku = :sku", sku=sku)
        free, held = found or (0, 0)
        return Stock(sku=sku, free=free, held=held, colours=colours)

    async def fill(self, sku: SKU, free: int) -> None:
        await self.tx.execute(
            "INSERT INTO stock (sku, free, held) VALUES (:sku, :free, 0)"
            " ON CONFLICT (sku) DO UPDATE SET free = free + excluded.free",
            sku=sku,
            free=free,
        )

    async def reserve(self, lines: tuple[Line, ...], *, marks: frozenset[str] = frozenset()) -> tuple[Stock, ...]:
        left: list[Stock] = []
        for line in lines:
            free = await self.tx.first(int, "SELECT free FROM stock WHERE sku = :sku", sku=line.sku) or 0
            await self.tx.execute(
                "UPDATE stock SET free = free - :n, held = held + :n WHERE sku = :sku", n=line.quantity, sku=line.sku
            )
            if free < line.quantity:
                raise OutOfStock(line.sku, free)
            left.append(Stock(sku=line.sku, free=free - line.quantity, held=line.quantity))
        return tuple(left)

    async def secret(self) -> str:
        return world.new_id()

    async def who(self) -> str:
        return self.principal.id

    async def trouble(self, kind: str) -> int:
        match kind:
            case "bug":
                raise ValueError("the secret of the house")
            case "undeclared":
                raise Broken("the secret of the house")
            case "busy":
                error = RejectedError("the secret of the house")
                error.retry_after_s = 0.5
                raise error
            case "backend":
                raise BackendError("the secret of the house")
            case "wrong type":
                return "text"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
        return 0

    async def slow(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    async def slow_fill(self, sku: SKU, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return await self.tx.execute("INSERT INTO stock (sku, free, held) VALUES (:sku, 1, 0)", sku=sku)


TABLE = "CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, free INTEGER NOT NULL, held INTEGER NOT NULL)"


@pytest.fixture
async def dispatcher(tmp_path: Path) -> AsyncIterator[Dispatcher]:
    async with Database(f"sqlite:///{tmp_path}/inventory.db") as db:
        await db.execute(TABLE)
        async with Dispatcher(InventoryService(db=db)) as made:
            yield made


def asked_by(principal: Principal, *, key: str | None = None, seconds: float | None = None) -> Call:
    """Return the call of a principal, with a key and a deadline."""
    return Call(principal, None if seconds is None else world.monotonic() + seconds, key=key)


class ContractCases:
    """Subclass it and override `make_client` (and, where it must be closed, a fixture `inventory` of your own)."""

    async def make_client(self, dispatcher: Dispatcher) -> Inventory:
        """Return a client of `Inventory` that reaches `dispatcher`; the principal is that of the running call."""
        raise NotImplementedError

    @pytest.fixture
    async def inventory(self, dispatcher: Dispatcher) -> Inventory:
        made = await self.make_client(dispatcher)
        with context.enter(asked_by(ROOT)):
            await made.fill(SKU("tea"), 5)
        return made

    async def test_a_query_answers_with_typed_values(self, inventory: Inventory) -> None:
        stock = await inventory.stock(SKU("tea"), colours=(Colour.BLUE, Colour.RED))
        assert stock == Stock(sku=SKU("tea"), free=5, held=0, colours=(Colour.BLUE, Colour.RED))

    async def test_text_with_every_kind_of_character_survives(self, inventory: Inventory) -> None:
        name = SKU("a/b c?d=é&%2F#+")
        assert (await inventory.stock(name)).sku == name

    async def test_arguments_are_taken_by_position_or_by_name(self, inventory: Inventory) -> None:
        assert await inventory.stock(sku=SKU("tea"), note="x") == await inventory.stock(SKU("tea"))

    async def test_wrong_arguments_are_told_as_python_tells_them(self, inventory: Inventory) -> None:
        with pytest.raises(TypeError, match="missing arguments: sku"):
            await inventory.stock()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    async def test_a_command_has_its_effect(self, inventory: Inventory) -> None:
        with context.enter(asked_by(ANN)):
            left = await inventory.reserve((Line(sku=SKU("tea"), quantity=2),), marks=frozenset("ab"))
        assert left == (Stock(sku=SKU("tea"), free=3, held=2),)
        assert (await inventory.stock(SKU("tea"))).free == 3

    async def test_a_declared_error_comes_back_as_itself_and_its_effect_is_rolled_back(
        self, inventory: Inventory
    ) -> None:
        with context.enter(asked_by(ANN)), pytest.raises(OutOfStock) as caught:
            await inventory.reserve((Line(sku=SKU("tea"), quantity=1), Line(sku=SKU("mate"), quantity=1)))
        assert (caught.value.sku, caught.value.free) == ("mate", 0)
        assert (await inventory.stock(SKU("tea"))).free == 5

    async def test_a_repeat_with_the_key_gets_the_answer_and_has_no_effect(self, inventory: Inventory) -> None:
        lines = (Line(sku=SKU("tea"), quantity=2),)
        with context.enter(asked_by(ANN, key="k1")):
            first = await inventory.reserve(lines, marks=frozenset("abcdef"))
            again = await inventory.reserve(lines, marks=frozenset("fedcba"))
        assert again == first
        assert (await inventory.stock(SKU("tea"))).free == 3

    async def test_a_repeat_of_a_declared_error_gets_the_error_again(self, inventory: Inventory) -> None:
        lines = (Line(sku=SKU("tea"), quantity=9),)
        with context.enter(asked_by(ANN, key="k2")):
            with pytest.raises(OutOfStock):
                await inventory.reserve(lines)
            with context.enter(asked_by(ROOT)):
                await inventory.fill(SKU("tea"), 100)
            with pytest.raises(OutOfStock) as caught:
                await inventory.reserve(lines)
        assert caught.value.free == 5

    async def test_a_key_with_other_arguments_is_refused(self, inventory: Inventory) -> None:
        with context.enter(asked_by(ANN, key="k3")):
            await inventory.reserve((Line(sku=SKU("tea"), quantity=1),))
            with pytest.raises(KeyReusedError, match="k3"):
                await inventory.reserve((Line(sku=SKU("tea"), quantity=2),))

    async def test_a_key_belongs_to_its_principal(self, inventory: Inventory) -> None:
        lines = (Line(sku=SKU("tea"), quantity=1),)
        for principal in (ANN, ROOT):
            with context.enter(asked_by(principal)):
                await options(inventory, key="same").reserve(lines)
        assert (await inventory.stock(SKU("tea"))).held == 2

    async def test_an_answer_that_holds_a_secret_is_not_recorded(self, inventory: Inventory) -> None:
        with context.enter(asked_by(ANN, key="k4")):
            assert await inventory.secret() != await inventory.secret()

    async def test_nobody_is_told_to_sign_in(self, inventory: Inventory) -> None:
        with context.enter(asked_by(NOBODY)), pytest.raises(NotSignedInError):
            await inventory.who()

    async def test_the_wrong_role_is_refused(self, inventory: Inventory) -> None:
        with context.enter(asked_by(ANN)), pytest.raises(ForbiddenError, match="admin"):
            await inventory.fill(SKU("tea"), 1)

    async def test_the_principal_travels(self, inventory: Inventory) -> None:
        with context.enter(asked_by(ANN)):
            assert await inventory.who() == "ann"

    @pytest.mark.parametrize("kind", ["bug", "undeclared"])
    async def test_what_is_not_declared_becomes_a_remote_error_that_tells_nothing(
        self, inventory: Inventory, kind: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(RemoteError) as caught:
            await inventory.trouble(kind)
        assert "secret" not in str(caught.value)
        assert "secret of the house" in capsys.readouterr().err

    async def test_a_refusal_inside_comes_back_as_one_with_its_time(self, inventory: Inventory) -> None:
        with pytest.raises(RejectedError) as caught:
            await options(inventory, retry=None).trouble("busy")
        assert caught.value.retry_after_s == 0.5
        assert "secret" not in str(caught.value)

    async def test_a_failed_backend_comes_back_as_one(
        self, inventory: Inventory, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(BackendError) as caught:
            await options(inventory, retry=None).trouble("backend")
        assert "secret" not in str(caught.value)
        assert "secret of the house" in capsys.readouterr().err

    async def test_a_query_ends_at_the_deadline(self, inventory: Inventory) -> None:
        with pytest.raises(DeadlineError):
            await options(inventory, timeout_s=0.05).slow(5.0)

    async def test_a_call_after_the_deadline_is_not_made(self, inventory: Inventory) -> None:
        with context.enter(asked_by(ANN, seconds=0.0)), pytest.raises(DeadlineError):
            await inventory.who()

    async def test_arguments_that_break_the_contract_are_refused(self, inventory: Inventory) -> None:
        with context.enter(asked_by(ANN)), pytest.raises(RequestInvalidError):
            await inventory.reserve((Line.model_construct(sku=SKU("tea"), quantity=0),))
