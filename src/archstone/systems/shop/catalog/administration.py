"""What the catalog promises to administrators: to create, change and retire products, never over one another's work.

Every edit names the version that it was made from. If somebody else, or an import, has changed the product since, the
edit is refused and the answer holds the product as it is now.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import Contract, command, query
from archstone.systems.shop.catalog.contract import CategoryId, Product, UnknownProductError
from archstone.systems.shop.catalog.importing import MAX_PIECES, ImportBusyError
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.values import MAX_MINOR_UNITS, SKU, Cursor, PageSize, Value, VisibleText

__all__ = [
    "CatalogAdmin",
    "FieldChange",
    "Price",
    "ProductChange",
    "ProductChanges",
    "ProductEdition",
    "ProductEditions",
    "ProductExistsError",
    "ProductMovedOnError",
    "UnknownCategoryError",
]

Description = Annotated[str, StringConstraints(max_length=5_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]
"""Up to 5,000 characters, none a control character but line breaks and tabs."""
Version = Annotated[int, Field(ge=1, le=2**53)]
Pieces = Annotated[int, Field(ge=0, le=MAX_PIECES)]


class Price(Value):
    """What one piece costs: at least one minor unit."""

    amount: Annotated[int, Field(ge=1, le=MAX_MINOR_UNITS)]
    """Minor units."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"


class ProductEdition(Value):
    """A product as an administrator sees it."""

    product: Product
    version: Version
    """Give it back with the next edit. Any change gives the product another one."""
    retired: bool
    """Whether it is not for sale any more."""


class ProductEditions(Value):
    """Some products as administrators see them, and where the next ones are."""

    items: tuple[ProductEdition, ...]
    next_cursor: str | None


class FieldChange(Value):
    """One field of a product, before and after."""

    field: Literal["name", "description", "category", "price"]
    before: str
    after: str


class ProductChange(Value):
    """An edit of a product."""

    number: Annotated[int, Field(ge=0)]
    """Rising; the newest has the highest."""
    sku: SKU
    what: Literal["created", "updated", "retired", "restored"]
    fields: tuple[FieldChange, ...]
    """What an update changed."""
    by: str
    """Id of the administrator."""
    at: datetime


class ProductChanges(Value):
    """Some edits, newest first, and where the next ones are."""

    items: tuple[ProductChange, ...]
    next_cursor: str | None


class ProductMovedOnError(DomainError, code="catalog.moved-on", status=409):
    """Somebody has changed the product since it was read. Nothing of the edit was taken."""

    def __init__(self, current: ProductEdition) -> None:
        super().__init__(current)
        self.current = current

    def __str__(self) -> str:
        return (
            f"{self.current.product.sku} has been changed meanwhile and is at version {self.current.version}: "
            "look at it as it is now, and edit that"
        )


class ProductExistsError(DomainError, code="catalog.product-exists", status=409):
    """There is such a product, for sale or retired."""

    def __init__(self, sku: str) -> None:
        super().__init__(sku)
        self.sku = sku

    def __str__(self) -> str:
        return f"product {self.sku} exists: change it, or restore it if it is retired; or choose another SKU"


class UnknownCategoryError(DomainError, code="catalog.unknown-category", status=404):
    """There is no such category, and no title to make one."""

    def __init__(self, category: str) -> None:
        super().__init__(category)
        self.category = category

    def __str__(self) -> str:
        return f"no category {self.category!r}: choose one of GET /categories, or give `category_title` to make it"


class CatalogAdmin(Contract, version="1.0"):
    """Products for administrators."""

    @query("/products/{sku}/edition", public=True, requires="catalog:review", raises=(UnknownProductError,))
    async def edition(self, sku: SKU) -> ProductEdition:
        """Return a product, for sale or retired, with the version that an edit must name."""
        ...

    @query("/retired-products", public=True, requires="catalog:review", raises=(BadCursorError,))
    async def retired(self, limit: PageSize = 20, cursor: Cursor | None = None) -> ProductEditions:
        """List the products that are not for sale any more, in the order of the shelf."""
        ...

    @query(
        "/products/{sku}/changes", public=True, requires="catalog:review", raises=(UnknownProductError, BadCursorError)
    )
    async def product_changes(self, sku: SKU, limit: PageSize = 20, cursor: Cursor | None = None) -> ProductChanges:
        """List who edited a product and how, newest first. Imports are not among it."""
        ...

    @command(
        "/products", public=True, requires="catalog:write", status=201,
        raises=(ProductExistsError, UnknownCategoryError, ImportBusyError),
    )  # fmt: skip
    async def create(  # noqa: PLR0917 - each is a field of the body
        self,
        sku: SKU,
        name: VisibleText,
        category: CategoryId,
        price: Price,
        description: Description = "",
        category_title: VisibleText | None = None,
        pieces: Pieces = 0,
    ) -> ProductEdition:
        """Put a new product on the shelf, at its end. Its stock, `pieces`, is there a moment later."""
        ...

    @command(
        "/products/{sku}", method="PUT", public=True, requires="catalog:write", key_required=False,
        raises=(UnknownProductError, ProductMovedOnError, UnknownCategoryError, ImportBusyError),
    )  # fmt: skip
    async def update(  # noqa: PLR0917 - each is a field of the body
        self,
        sku: SKU,
        version: Version,
        name: VisibleText,
        category: CategoryId,
        price: Price,
        description: Description,
        category_title: VisibleText | None = None,
    ) -> ProductEdition:
        """Change a product; search finds it by its new words at once. Orders keep the price they were placed at."""
        ...

    @command(
        "/products/{sku}/retirement", method="PUT", public=True, requires="catalog:write", key_required=False,
        raises=(UnknownProductError, ProductMovedOnError, ImportBusyError),
    )  # fmt: skip
    async def retire(self, sku: SKU, version: Version, retired: bool = True) -> ProductEdition:  # noqa: FBT001, FBT002 - a field of the body
        """Take a product off the shelf, or put it back: it is not found nor sold, and shown as gone in carts.

        An import does not put it back.
        """
        ...
