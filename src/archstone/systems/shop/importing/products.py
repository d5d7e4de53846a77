"""Records of others as products of ours: each becomes one, or a fault with its line and the reason.

    reader = ProductReader(FieldMap.parse(["name=title"]))
    for record in records:
        found = reader.read(record)      # LoadedProduct or Fault

The SKU tells what a product is: the file's own, or one made from its id, the same at each run. So what is imported
twice is there once. Of two records with one SKU or one id the first wins, and the other is a fault.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

from pydantic import ValidationError

from archstone.systems.shop.catalog.importing import MAX_IMAGES, MAX_PIECES, LoadedProduct
from archstone.systems.shop.importing.fields import FieldMap, paths_of
from archstone.systems.shop.importing.prices import PriceError, read_price
from archstone.systems.shop.importing.records import Record
from archstone.systems.shop.importing.texts import category_id, fitting_sku, one_line, plain_text

__all__ = ["Fault", "ProductReader"]

MAX_DESCRIPTION: Final = 5_000
MAX_CATEGORIES: Final = 1_000
"""Of one file: they are listed whole, and a file with more has another field in this place."""
MAX_SHOWN: Final = 60
OTHER: Final = "Other"


class Fault(NamedTuple):
    """A record that is left out."""

    line: int
    reason: str


class ProductReader:
    """Reads the records of one file. It remembers their SKUs and ids, to find those that come twice."""

    def __init__(self, fields: FieldMap, *, currency: str = "EUR", default_stock: int = 0, prefix: str = "") -> None:
        """Say how to read.

        Args:
            fields: Where our fields are.
            currency: Of prices that name none.
            default_stock: Pieces where the record names none. At least 0.
            prefix: Before SKUs that are made from ids: files whose ids mean different things need one each.
        """
        self._fields = fields
        self._currency = currency
        self._default_stock = default_stock
        self._prefix = prefix
        self._lines: dict[str, int] = {}
        self._categories: set[str] = set()
        self.missing = {ours for ours, path in fields.chosen.items() if path}
        """Fields that the mapping names and no record had so far."""
        self.named: tuple[str, ...] = ()
        """The fields of the first record, as a mapping would name them."""

    def read(self, record: Record) -> LoadedProduct | Fault:
        """Return the product of a record, or why it is none."""
        if record.fields is None:
            return Fault(record.line, record.fault)
        self.named = self.named or paths_of(record.fields)
        fields = self._fields.normalised(record.fields)
        found = {ours: self._fields.find(fields, ours) for ours in _FIELDS}
        if self.missing:
            self.missing -= {ours for ours, value in found.items() if value is not None}
        try:
            product = self._product(found, line=record.line)
            self._count(product.category)
            self._claim(product.sku, _text(found["id"]), line=record.line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            return Fault(record.line, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        except ValueError as error:
            return Fault(record.line, str(error))
        return product

    def _product(self, found: Mapping[str, object], *, line: int) -> LoadedProduct:
        sku, own_id = _text(found["sku"]), _text(found["id"])
        if not (sku or own_id):
            raise ValueError("it has neither sku nor id, so a second run could not know it again: --map id=...")
        title = one_line(_label(found["category"])) or OTHER
        amount, currency = self._price(found)
        return LoadedProduct(
            sku=fitting_sku(sku) if sku else fitting_sku(own_id, prefix=self._prefix or "ID"),
            name=_name(found["name"]),
            category=category_id(title),
            category_title=title[:100],
            amount=amount,
            currency=currency,
            description=_cut(plain_text(_text(found["description"]))),
            images=tuple(_images(found["images"])),
            pieces=_pieces(found["stock"], self._default_stock),
            line=line,
        )

    def _price(self, found: Mapping[str, object]) -> tuple[int, str]:
        price, named = found["price"], _text(found["currency"]).upper()
        if isinstance(price, Mapping):
            inner = cast("Mapping[str, object]", price)
            named = _text(inner.get("currency") or inner.get("currency_code")).upper() or named
            price = next((inner[name] for name in ("amount", "value", "price") if name in inner), None)
        if price is None or price == "":
            raise PriceError("it has no price: --map price=...")
        if named and not (len(named) == 3 and named.isascii() and named.isalpha()):
            raise PriceError(f"currency {named[:MAX_SHOWN]!r} is no code of three letters")
        amount, currency = read_price(price, default=named or self._currency)
        if named and currency != named:
            raise PriceError(f"price {str(price)[:MAX_SHOWN]!r} is in {currency}, its record says {named}")
        if not amount:
            raise PriceError(f"price {str(price)[:MAX_SHOWN]!r} must be above 0")
        return amount, currency

    def _count(self, category: str) -> None:
        if category not in self._categories and len(self._categories) == MAX_CATEGORIES:
            raise ValueError(f"category {category!r} is one more than the {MAX_CATEGORIES} that can be had")
        self._categories.add(category)

    def _claim(self, sku: str, own_id: str, *, line: int) -> None:
        keys = [sku, f"id {own_id}"] if own_id else [sku]
        for key in keys:
            if (first := self._lines.get(key)) is not None:
                raise ValueError(f"{key!r} was on line {first} already: the first one counts")
        for key in keys:
            self._lines[key] = line


_FIELDS: Final = ("sku", "id", "name", "price", "currency", "category", "description", "stock", "images")


def _text(found: object) -> str:
    if found is None or isinstance(found, Mapping | list):
        return ""
    if isinstance(found, Decimal):
        # 7, 7.0 and 7e0 are one id; what is huge stays as it is written.
        whole = found == found.to_integral_value() if found.is_finite() and found.adjusted() < 40 else False
        return str(int(found)) if whole else str(found)
    return str(found).strip()


def _name(found: object) -> str:
    name = one_line(_text(found))
    if not name:
        raise ValueError("it has no name: --map name=...")
    if len(name) > 200:
        raise ValueError(f"name {name[:MAX_SHOWN]!r}... has {len(name)} characters, at most 200")
    return name


def _label(found: object) -> str:
    """Return the title of a category: a text, an object with a name, or the first of several."""
    if isinstance(found, list):
        found = next(iter(cast("list[object]", found)), None)
    if isinstance(found, Mapping):
        inner = cast("Mapping[str, object]", found)
        found = inner.get("name") or inner.get("title") or inner.get("slug")
    return _text(found)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1].rstrip() + "…"


def _pieces(found: object, default: int) -> int:
    if isinstance(found, Mapping):
        inner = cast("Mapping[str, object]", found)
        found = next((inner[name] for name in ("quantity", "count", "available", "stock") if name in inner), None)
    if found is None or found == "":
        return default
    text = _text(found).replace(" ", "")
    if "," in text and text.replace(",", "").isdecimal() and len(text.rpartition(",")[2]) == 3:
        text = text.replace(",", "")
    whole, _, decimals = text.partition(".")
    if isinstance(found, bool) or decimals.strip("0") or not (whole.isascii() and whole.isdecimal()):
        raise ValueError(f"stock {str(found)[:MAX_SHOWN]!r} is no whole number from 0 on")
    if len(whole) > 18 or int(whole) > MAX_PIECES:
        raise ValueError(f"stock {str(found)[:MAX_SHOWN]!r} is above {MAX_PIECES}")
    return int(whole)


def _images(found: object) -> list[str]:
    """Return addresses of pictures, at most ten, each once. What is no address of the web is left out."""
    if isinstance(found, str):
        found = _split(found)
    if isinstance(found, Mapping):
        found = [cast("Any", found)]
    kept: list[str] = []
    for each in cast("Sequence[object]", found if isinstance(found, list) else []):
        if isinstance(each, Mapping):
            inner = cast("Mapping[str, object]", each)
            each = inner.get("url") or inner.get("src") or inner.get("href")  # noqa: PLW2901 - the same picture
        url = _text(each)
        web = url.lower().startswith(("http://", "https://")) and url.isascii() and url.isprintable()
        if web and " " not in url and len(url) <= 500 and url not in kept:
            kept.append(url)
    return kept[:MAX_IMAGES]


def _split(text: str) -> list[object]:
    if text.lstrip().startswith("["):
        try:
            return cast("list[object]", json.loads(text))
        except ValueError:
            return []
    for mark in ("|", "\n", " ", ";"):
        text = text.replace(mark, ",")
    # A comma may stand inside an address; one before a new address ends it.
    return cast("list[object]", [part.strip(", ") for part in text.replace(",http", "\x00http").split("\x00")])
