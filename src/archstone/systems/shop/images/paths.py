"""Where the shop shows a picture of elsewhere: `/images/SKU/NUMBER-MARK-WIDTH`, which says nothing of its address.

The mark is made of the address. Who knows none of ours can name no other, and since what a path shows never changes,
a browser may keep it. Whether the product really has the picture is asked of the catalog at each request.
"""

import hashlib
import re
from typing import Final, NamedTuple

__all__ = ["WIDTHS", "ImagePath", "image_path", "key_of", "mark_of", "read_path", "srcset_of"]

WIDTHS: Final = (320, 640, 1200)
"""Sides of the squares into which pictures are made to fit, pixels. No others are made."""
_MADE: Final = "1"
"""How they are made. Another number here gives every picture another path."""
_PATH: Final = re.compile(r"/images/([A-Z0-9][A-Z0-9-]{2,19})/([1-9]|10)-([0-9a-f]{12})-([0-9]{1,4})")


class ImagePath(NamedTuple):
    """What a path asks for."""

    sku: str
    number: int
    """Of the product's pictures, from 1 to 10."""
    mark: str
    width: int
    """One of `WIDTHS`."""


def key_of(address: str) -> str:
    """Return what a picture is kept under: 32 hex digits, other ones for each address and for each way of making."""
    return hashlib.blake2s(f"{_MADE} {address}".encode(), digest_size=16).hexdigest()


def mark_of(address: str) -> str:
    """Return the part of the key that stands in paths: 12 hex digits."""
    return key_of(address)[:12]


def image_path(sku: str, number: int, address: str, width: int) -> str:
    """Return where a picture of a product is shown."""
    return f"/images/{sku}/{number}-{mark_of(address)}-{width}"


def srcset_of(sku: str, number: int, address: str) -> str:
    """Return the same picture in all widths, as the attribute `srcset` has them."""
    return ", ".join(f"{image_path(sku, number, address, width)} {width}w" for width in WIDTHS)


def read_path(path: str) -> ImagePath | None:
    """Return what a path asks for; None if it is none of ours."""
    found = _PATH.fullmatch(path)
    if found is None or int(found[4]) not in WIDTHS:
        return None
    return ImagePath(found[1], int(found[2]), found[3], int(found[4]))
