"""What the inventory promises to administrators: to see all stock, and to put the books right, with a trace.

A correction says that the books were wrong: it changes what is free, never what is held or sold, and stays readable
with who made it and why. Goods that arrive are no correction: book them with `Inventory.restock`.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from archstone.errors import DomainError
from archstone.services import Contract, command, query
from archstone.systems.shop.inventory.contract import UnknownStockError
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.values import SKU, Cursor, Line, OrderId, PageSize, Reason, Value

__all__ = [
    "MAX_PIECES",
    "CorrectedStock",
    "Correction",
    "CorrectionPage",
    "CorrectionUnclearError",
    "GoodsOfOrder",
    "HeldStockError",
    "Reason",
    "StockAdmin",
    "StockPage",
    "StockRow",
]

MAX_PIECES: Final = 1_000_000

Difference = Annotated[int, Field(ge=-MAX_PIECES, le=MAX_PIECES)]
Counted = Annotated[int, Field(ge=0, le=MAX_PIECES)]
Count = Annotated[int, Field(ge=0)]


class HeldStockError(DomainError, code="inventory.below-held", status=409):
    """There would be less of a product than checkouts hold. Nothing was corrected."""

    def __init__(self, sku: str, free: int, held: int) -> None:
        super().__init__(sku, free, held)
        self.sku = sku
        self.free = free
        self.held = held

    def __str__(self) -> str:
        return (
            f"{self.sku}: at most the {self.free} free pieces can be taken out, {self.held} are held for checkouts: "
            "wait for their end, 15 minutes at most, or cancel orders"
        )


class CorrectionUnclearError(DomainError, code="inventory.correction-unclear", status=422):
    """A correction says either the difference or what was counted."""

    def __init__(self, sku: str) -> None:
        super().__init__(sku)
        self.sku = sku

    def __str__(self) -> str:
        return f"correction of {self.sku}: give either `delta`, not 0, or `counted`, not both and not neither"


class StockRow(Value):
    """A product's stock. Always: free + held + sold = initial + corrected."""

    sku: SKU
    free: Count
    """Pieces that can be bought now."""
    held: Count
    """Pieces in checkouts that have not ended."""
    sold: Count
    """Pieces of confirmed orders."""
    initial: int
    """Pieces that the shop began with, and that have arrived since."""
    corrected: int
    """Sum of all corrections."""


class StockPage(Value):
    """Some products' stock, and where the next ones are."""

    items: tuple[StockRow, ...]
    next_cursor: str | None


class Correction(Value):
    """One correction, as it was made."""

    number: Count
    """Rising; the newest has the highest."""
    sku: SKU
    delta: int
    """Pieces more, or less."""
    counted: int | None
    """What was counted; None when the difference was given."""
    free: Count
    """Afterwards."""
    held: Count
    """At that moment."""
    reason: str
    by: str
    """Id of the administrator."""
    at: datetime


class CorrectedStock(Value):
    """A correction, and the stock after it."""

    correction: Correction
    stock: StockRow


class CorrectionPage(Value):
    """Some corrections, newest first, and where the next ones are."""

    items: tuple[Correction, ...]
    next_cursor: str | None


class GoodsOfOrder(Value):
    """What is held or sold for an order."""

    order_id: OrderId
    state: Literal["held", "sold", "expired", "released"]
    """`expired`: the time was up; `released`: the order was given up."""
    lines: tuple[Line, ...]
    """Empty when it was given up before anything was held."""
    expires_at: datetime
    """When they go back, or would have, unless sold before."""
    at: datetime
    """Of the last change."""


class StockAdmin(Contract, version="1.0"):
    """Stock for administrators."""

    @query("/stock", public=True, requires="stock:read", raises=(BadCursorError,))
    async def stocks(self, low: Counted | None = None, limit: PageSize = 20, cursor: Cursor | None = None) -> StockPage:
        """List the stock by SKU; with `low`, only products with at most so many free pieces, the fewest first."""
        ...

    @query("/stock/{sku}/books", public=True, requires="stock:read", raises=(UnknownStockError,))
    async def books(self, sku: SKU) -> StockRow:
        """Return what the books say of one product."""
        ...

    @command(
        "/stock/{sku}/corrections", public=True, requires="stock:write", status=201,
        raises=(UnknownStockError, HeldStockError, CorrectionUnclearError),
    )  # fmt: skip
    async def correct(
        self, sku: SKU, reason: Reason, delta: Difference | None = None, counted: Counted | None = None
    ) -> CorrectedStock:
        """Put the books right: by a difference, or by what was counted, which is free and held pieces together.

        Sold pieces are not counted, whether they have left the house or not.
        """
        ...

    @query("/stock/{sku}/corrections", public=True, requires="stock:read", raises=(UnknownStockError, BadCursorError))
    async def corrections(self, sku: SKU, limit: PageSize = 20, cursor: Cursor | None = None) -> CorrectionPage:
        """List the corrections of a product, newest first."""
        ...

    @query("/reservations/{order_id}", requires="orders:read-any")
    async def goods_of(self, order_id: OrderId) -> GoodsOfOrder | None:
        """Return what is held or sold for an order. None: nothing ever was."""
        ...
