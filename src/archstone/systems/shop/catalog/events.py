"""What happens in the catalog that others may want to hear of."""

from datetime import datetime

from archstone.data import Event
from archstone.systems.shop.values import SKU, Value

__all__ = ["ImportedStock", "ProductChanged", "ProductCreated", "ProductsImported", "StockImported"]


class ImportedStock(Value):
    """How many pieces of a product an imported file says there are."""

    sku: SKU
    pieces: int


class StockImported(Event, name="catalog.stock-imported", version=1, key="source"):
    """Products of an import are seen now, and this is what their file says of the stock. A part of the import."""

    source: str
    """What is imported into: the same for all imports, so that they arrive in their order."""
    number: int
    """Of the import; a later one has a higher one."""
    lines: tuple[ImportedStock, ...]


class ProductCreated(Event, name="catalog.product-created", version=1, key="sku"):
    """An administrator has put a new product on the shelf."""

    sku: SKU
    pieces: int
    """How many there are to begin with."""
    at: datetime


class ProductChanged(Event, name="catalog.product-changed", version=1, key="sku"):
    """An administrator has changed a product, taken it off the shelf, or put it back."""

    sku: SKU
    at: datetime


class ProductsImported(Event, name="catalog.products-imported", version=1, key="source"):
    """All products of an import are seen from now on. Their stock is told by and by, see `StockImported`."""

    source: str
    """As there."""
    number: int
    """As there."""
