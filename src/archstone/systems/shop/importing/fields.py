"""Which field of a file is which of ours: names that fit by themselves, and a mapping for those that do not.

A path has dots where a field is inside a field, as in `price=pricing.final`; `images.0` is the first of an array.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Self, cast

from archstone.errors import ConfigError

__all__ = ["ALIASES", "FieldMap", "FieldMapError", "paths_of"]

ALIASES: Final = MappingProxyType(
    {
        "sku": ("sku", "product_sku", "variant_sku", "item_number", "article_number"),
        "id": ("id", "product_id", "item_id", "external_id", "handle", "asin", "code"),
        "name": ("name", "title", "product_name", "product_title", "product"),
        "price": ("price", "final_price", "sale_price", "unit_price", "variant_price", "selling_price", "amount"),
        "currency": ("currency", "currency_code", "price_currency"),
        "category": ("category", "category_name", "product_category", "product_type", "type", "categories"),
        "description": ("description", "body_html", "body", "product_description", "details", "summary"),
        "stock": ("stock", "quantity", "qty", "inventory", "stock_quantity", "inventory_quantity", "available"),
        "images": ("images", "image", "image_url", "image_urls", "thumbnail", "picture", "image_src", "img"),
    }
)
"""Our fields, each with the names under which files have it; the first that is there counts."""
MAX_PATHS: Final = 25
MAX_PATH: Final = 60
MAX_DEPTH: Final = 3
_INNER: Final = re.compile(r"[^a-z0-9]+")


class FieldMapError(ConfigError, code="shop.field-map"):
    """The mapping of fields does not fit. Nothing was imported."""


@dataclass(frozen=True, slots=True)
class FieldMap:
    """Where each of our fields is found in a record."""

    chosen: Mapping[str, str]
    """Of our fields to dotted paths. An empty path: the field is left out though the file has it."""

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Return the mapping that texts such as `name=title,price=final_price` describe.

        Raises:
            FieldMapError: a part is not NAME=PATH, or names none of our fields, or one twice.
        """
        chosen: dict[str, str] = {}
        for part in (part.strip() for text in texts for part in text.split(",")):
            ours, equals, path = (piece.strip() for piece in part.partition("="))
            if not equals:
                raise FieldMapError(f"--map {part!r}: write OURS=THEIRS, such as name=title")
            if ours not in ALIASES:
                near = get_close_matches(ours, ALIASES, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise FieldMapError(f"--map {part!r}: our fields are {', '.join(ALIASES)}{hint}")
            if ours in chosen:
                raise FieldMapError(f"--map names {ours!r} twice")
            chosen[ours] = path
        return cls(MappingProxyType(chosen))

    def find(self, record: Mapping[str, Any], ours: str) -> object:
        """Return what the record holds for one of our fields, None where it has none."""
        path = self.chosen.get(ours)
        if path is not None:
            return _at(record, path) if path else None
        for name in ALIASES[ours]:
            if (found := record.get(name)) is not None and found != "":
                return found
        return None

    def normalised(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the record with its own names and beside them their plain forms: `Product Name` as `product_name`."""
        plain: dict[str, Any] = {}
        for name, value in record.items():
            plain.setdefault(_INNER.sub("_", name.lower()).strip("_"), value)
        return {**plain, **record}


def _at(record: Mapping[str, Any], path: str) -> object:
    """Return what stands at a dotted path; a key that holds the dots itself comes first."""
    found: object = record.get(path)
    if found is not None:
        return found
    found = record
    for part in path.split("."):
        if isinstance(found, Mapping):
            found = cast("Mapping[str, object]", found).get(part)
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(cast("list[object]", found)):
            found = cast("list[object]", found)[int(part)]
        else:
            return None
    return found


def paths_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a mapping may name in a record, in its order: at most 25 paths, cut at 60 characters each."""
    found = [*islice(_paths(record), MAX_PATHS + 1)]
    shown = ["".join(each if each.isprintable() else " " for each in path)[:MAX_PATH] for path in found]
    return (*shown[:MAX_PATHS], "...") if len(shown) > MAX_PATHS else tuple(shown)


def _paths(record: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in record.items():
        if isinstance(value, Mapping) and before.count(".") < MAX_DEPTH:
            yield from _paths(cast("Mapping[str, Any]", value), f"{before}{name}.")
        elif name:
            yield f"{before}{name}"
