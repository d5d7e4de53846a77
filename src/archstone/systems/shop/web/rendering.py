"""Makes pages of templates. Everything is escaped; no template holds a script or a style of its own.

The Content-Security-Policy allows what comes from the shop itself and nothing that stands in the page.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Final, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from archstone.systems.pages import Assets
from archstone.systems.shop.catalog.pictures import drawing_path, picture_path
from archstone.systems.shop.values import Money
from archstone.systems.shop.web.forms import COUNTRIES
from archstone.systems.shop.web.images import pictured, shown
from archstone.systems.shop.web.money import Locale, many, written
from archstone.systems.shop.web.words import NOTICES, in_stock, status_words, timeline_words

__all__ = ["PAGE_HEADERS", "assets", "moment", "templates"]

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
PAGE_HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"same-origin"),
    # A page shows who is signed in and what is in the cart: it is nobody else's, and not for later.
    (b"cache-control", b"private, no-store"),
    (b"vary", b"cookie, accept-language"),
)
_HERE: Final = Path(__file__).parent


class Templates:
    """The folder `templates`, with the words that all of them may use."""

    def __init__(self, assets: Assets, folder: Path = _HERE / "templates", *, proxied: bool = False) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        names = cast("dict[str, object]", self._environment.globals)
        names.update(asset=assets.path, notices=NOTICES)
        filters = cast("dict[str, object]", self._environment.filters)
        filters.update(day=_day, moment=moment, many=many, country=_country)
        filters.update(shown=partial(shown, proxied=proxied), pictured=partial(pictured, proxied=proxied))
        filters.update(line_picture=_line_picture, drawn=drawing_path)
        filters.update(timeline_words=timeline_words, status_words=status_words, in_stock=in_stock)

    def page(self, template: str, locale: Locale, values: Mapping[str, object]) -> str:
        """Return a page as HTML; `price(money)` in it writes an amount as the reader does."""

        def price(money: Money) -> str:
            return written(money, locale)

        return self._environment.get_template(template).render({**values, "price": price})


@cache
def assets() -> Assets:
    """Return the files, which every site of this process shares."""
    return Assets(_HERE / "assets")


@cache
def templates(*, proxied: bool) -> Templates:
    """Return the templates, which are compiled once for every site of this process."""
    return Templates(assets(), proxied=proxied)


def _line_picture(sku: str, name: str) -> str:
    """Return the picture of a line of an order, which does not keep the product's shelf."""
    return picture_path(sku, name, "")


def _country(code: str) -> str:
    return COUNTRIES.get(code, code)


def _day(at: datetime) -> str:
    return f"{at:%d %b %Y}".lstrip("0")


def moment(at: datetime) -> str:
    """Return a date and a time in the words of the pages, which are English whatever the reader's language is."""
    return f"{_day(at)}, {at:%H:%M} UTC"
