"""What the catalog promises: products to look at, to search and to buy."""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import ANYONE, Contract, query
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.values import SKU, Cursor, Money, PageSize, Value

__all__ = [
    "Catalog",
    "Categories",
    "Category",
    "CategoryId",
    "Order",
    "Product",
    "ProductCount",
    "ProductPage",
    "Recommendations",
    "Suggestion",
    "Suggestions",
    "UnknownProductError",
]

MAX_COUNTED: Final = 1_000
"""Results of a search that are counted."""
Order = Literal["price", "-price", "name"]
"""By price, the lowest or the highest first, by the amount whatever the currency; or by the beginning of the name."""
SearchText = Annotated[str, StringConstraints(max_length=100)]
CategoryId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
"""1 to 40 lower case letters, digits and hyphens."""


class UnknownProductError(DomainError, code="catalog.unknown-product", status=404):
    """There is no such product."""

    def __init__(self, sku: str) -> None:
        super().__init__(sku)
        self.sku = sku

    def __str__(self) -> str:
        return f"no product {self.sku!r}: look for one with GET /products"


class Product(Value):
    """Something for sale."""

    sku: SKU
    name: str
    category: str
    price: Money
    description: str
    picture: str
    """Path of a drawn picture, SVG."""
    images: tuple[str, ...] = ()
    """Addresses of pictures elsewhere, as an import brought them; at most 10."""


class ProductPage(Value):
    """Some products, and where the next ones are."""

    items: tuple[Product, ...]
    next_cursor: str | None
    """Give it back as `cursor` for the next page. None: this was the last."""


class ProductCount(Value):
    """How many products a search finds, spelt as typed."""

    found: Annotated[int, Field(ge=0, le=MAX_COUNTED)]
    more: bool
    """Whether there are more than so many: it is not counted further."""


class Category(Value):
    """A shelf."""

    id: str
    title: str
    products: Annotated[int, Field(ge=0)]


class Categories(Value):
    """Every shelf, by title."""

    items: tuple[Category, ...]


class Recommendations(Value):
    """What others bought with a product, the most frequent first; then neighbours on its shelf."""

    items: tuple[Product, ...]


class Suggestion(Value):
    """A product that may be meant by what has been typed so far."""

    sku: SKU
    name: str
    category: str
    images: tuple[str, ...] = ()
    """Address of its first picture elsewhere; () if it has none."""


class Suggestions(Value):
    """What may be meant, the best first, at most eight."""

    items: tuple[Suggestion, ...]


class Catalog(Contract, version="1.0"):
    """Products, categories, search and recommendations."""

    @query("/products", public=True, requires=ANYONE, raises=(BadCursorError,))
    async def products(
        self,
        search: SearchText | None = None,
        category: CategoryId | None = None,
        limit: PageSize = 20,
        cursor: Cursor | None = None,
        order: Order | None = None,
    ) -> ProductPage:
        """List products: by relevance when searched, whatever the `order`; else by it, or as they stand on the shelf.

        A search takes all words, the last one also as a beginning. Names that have them come first, then those where
        the last is a beginning, then other texts; where little is found, words that are spelt alike follow.
        """
        ...

    @query("/products/count", public=True, requires=ANYONE)
    async def count(self, search: SearchText, category: CategoryId | None = None) -> ProductCount:
        """Return how many products a search finds, spelt as typed, up to 1,000. `Category` says it of shelves."""
        ...

    @query("/products/suggestions", public=True, requires=ANYONE)
    async def suggestions(self, search: SearchText) -> Suggestions:
        """Return up to eight products for what has been typed so far, spelt right or nearly."""
        ...

    @query("/products/{sku}", public=True, requires=ANYONE, raises=(UnknownProductError,))
    async def product(self, sku: SKU) -> Product:
        """Return one product."""
        ...

    @query("/products/{sku}/recommendations", public=True, requires=ANYONE, raises=(UnknownProductError,))
    async def recommendations(self, sku: SKU) -> Recommendations:
        """Return up to six products that are bought together with this one."""
        ...

    @query("/categories", public=True, requires=ANYONE)
    async def categories(self) -> Categories:
        """List the categories."""
        ...

    @query("/products-of-order", requires=ANYONE, raises=(UnknownProductError,))
    async def pick(self, skus: tuple[SKU, ...]) -> tuple[Product, ...]:
        """Return the products of an order, in the order asked for. Every one must exist."""
        ...
