"""What the catalog promises to who imports: rows arrive in batches, unseen; one statement shows all of them.

    opened = await imports.begin(source="products.csv")      # again until it is ready
    await imports.stage(opened.number, rows)                 # in batches of at most 200
    await imports.finish(opened.number, rows=...)            # again until it is done

Until `finish` switches nothing of an import is seen; an import that dies before leaves nothing that is ever seen, and
the next one clears it away. Stock belongs to the inventory: it is told by events after the switch, so a product can be
seen for a moment without stock, and never stays so. Each call does a bounded piece of work, which is why they repeat.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import Contract, command
from archstone.systems.shop.catalog.contract import CategoryId
from archstone.systems.shop.values import MAX_MINOR_UNITS, SKU, Value

__all__ = [
    "MAX_BATCH",
    "MAX_IMAGES",
    "MAX_PIECES",
    "CatalogImport",
    "ImportBusyError",
    "ImportGoneError",
    "ImportIncompleteError",
    "ImportState",
    "LoadedProduct",
    "Staged",
]

MAX_BATCH: Final = 200
MAX_IMAGES: Final = 10
MAX_PIECES: Final = 1_000_000

ImageUrl = Annotated[str, StringConstraints(pattern=r"^(?i:https?)://[!-~]+$", max_length=500)]


class ImportBusyError(DomainError, code="catalog.import-busy", status=409):
    """Another import is under way. Nothing was begun."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source

    def __str__(self) -> str:
        return f"{self.source!r} is being imported: wait for its end; one that died counts as ended after 10 s"


class ImportGoneError(DomainError, code="catalog.import-gone", status=409):
    """The import has ended, or was silent for so long that another one took its place."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"import {self.number} is not open any more: nothing of it is seen; start it again"


class ImportIncompleteError(DomainError, code="catalog.import-incomplete", status=409):
    """Not as many rows have arrived as were sent. Nothing was switched."""

    def __init__(self, number: int, sent: int, arrived: int) -> None:
        super().__init__(number, sent, arrived)
        self.number = number
        self.sent = sent
        self.arrived = arrived

    def __str__(self) -> str:
        return (
            f"import {self.number}: {self.sent} rows were sent, {self.arrived} have arrived: "
            "nothing of it is seen; start it again"
        )


class LoadedProduct(Value):
    """A product as an import brings it."""

    sku: SKU
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    category: CategoryId
    category_title: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    amount: Annotated[int, Field(ge=1, le=MAX_MINOR_UNITS)]
    """Minor units of `currency`."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    description: Annotated[str, StringConstraints(max_length=5_000)]
    images: Annotated[tuple[ImageUrl, ...], Field(max_length=MAX_IMAGES)]
    pieces: Annotated[int, Field(ge=0, le=MAX_PIECES)]
    """How many the file says there are."""
    line: Annotated[int, Field(ge=0)] = 0
    """Where the file has it."""


class ImportState(Value):
    """How far an import is."""

    number: int
    phase: Literal["clearing", "ready", "announcing", "done"]
    """After `clearing` and `announcing`: call again."""
    left: int = 0
    """Pieces of work before the next phase, about."""
    added: int = 0
    changed: int = 0
    unchanged: int = 0


class Staged(Value):
    """What became of a batch."""

    added: int
    changed: int
    unchanged: int


class CatalogImport(Contract, version="1.0"):
    """Loading a catalogue, for operators."""

    @command("/imports", requires="catalog:import", raises=(ImportBusyError,), record=False)
    async def begin(self, source: Annotated[str, StringConstraints(min_length=1, max_length=200)]) -> ImportState:
        """Open an import, after clearing away what one that died has left: call it until the phase is `ready`."""
        ...

    @command("/imports/{number}/rows", requires="catalog:import", raises=(ImportGoneError,), record=False)
    async def stage(
        self, number: int, rows: Annotated[tuple[LoadedProduct, ...], Field(min_length=1, max_length=MAX_BATCH)]
    ) -> Staged:
        """Take rows in, unseen. A row that was taken in before is taken once."""
        ...

    @command(
        "/imports/{number}/end",
        requires="catalog:import",
        raises=(ImportGoneError, ImportIncompleteError),
        record=False,
    )
    async def finish(self, number: int, rows: Annotated[int, Field(ge=0)]) -> ImportState:
        """Show everything at once, then tell the stock: call it until the phase is `done`."""
        ...

    @command("/imports/{number}/discard", requires="catalog:import", record=False)
    async def discard(self, number: int) -> None:
        """Give an import up that has not been switched. One that is not open is fine."""
        ...
