"""Which picture of a product a page shows: one that it has elsewhere, by way of `/images`, else its drawing."""

from typing import Final, NamedTuple

from archstone.systems.shop.catalog.contract import Product, Suggestion
from archstone.systems.shop.catalog.pictures import picture_path
from archstone.systems.shop.images.paths import WIDTHS, image_path, srcset_of

__all__ = ["Shown", "pictured", "shown"]

_THUMB: Final = WIDTHS[0]


class Shown(NamedTuple):
    """The attributes of an image."""

    src: str
    srcset: str
    """Empty: there is only `src`."""


def pictured(product: Product, *, proxied: bool) -> int:
    """Return how many pictures of a product are shown beside, or in place of, its drawing."""
    return len(product.images) if proxied else 0


def shown(product: Product | Suggestion, number: int = 1, *, proxied: bool) -> Shown:
    """Return how to show a picture of a product, by its number from 1 on.

    Args:
        product: Of what.
        number: Of its pictures.
        proxied: Whether pictures of elsewhere are shown.
    """
    if not proxied or number > len(product.images):
        return Shown(picture_path(product.sku, product.name, product.category), "")
    address = product.images[number - 1]
    return Shown(image_path(product.sku, number, address, _THUMB), srcset_of(product.sku, number, address))
