"""Makes pages of templates. Everything is escaped; no template holds a script or a style of its own.

The Content-Security-Policy allows what comes from the exchange itself and nothing that stands in the page.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from archstone.systems.exchange.desk.words import REASONS
from archstone.systems.exchange.instruments import money
from archstone.systems.exchange.matching import Reason
from archstone.systems.pages import Assets

__all__ = ["NOTICES", "PAGE_HEADERS", "assets", "templates"]

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
PAGE_HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"private, no-store"),
    (b"vary", b"cookie"),
)
NOTICES: Final = {
    "placed": "The order is placed.",
    "canceled": "The order is canceled.",
    "ended": "This order had ended already.",
    "all-canceled": "All your orders are canceled.",
    "password": "The password is changed. Other browsers and all tokens are signed out.",
    "trial-ended": "The trial has ended. Its account is gone; another takes one click.",
    "key-ended": "The key opens nothing any more.",
    "limit": "The limit is set.",
    "no-number": "Nothing was changed: write a whole number, or an amount such as 1,000.00, of 0 or more.",
    "killed": "The account is stopped: its orders are canceled and new ones refused.",
    "released": "The account may trade again.",
    "all-killed": "Everybody is stopped: all orders are canceled and new ones refused.",
    "all-released": "Trading goes on.",
    "halted": "It is halted: orders are refused and nothing trades, until you have it gather an auction.",
    "auction": "It is in an auction: orders gather, and nothing trades until you let it trade.",
    "continuous": "It trades.",
    "closed": "It is closed: day orders have ended, and nothing trades until you open it by an auction.",
    "no-move": "That is not possible from where it is: after a halt comes an auction, then trading.",
}
"""What a page may be told to say, by name."""
_HERE: Final = Path(__file__).parent


class Templates:
    """The folder `templates`, with the words that all of them may use."""

    def __init__(self, assets: Assets, folder: Path = _HERE / "templates") -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        cast("dict[str, object]", self._environment.globals).update(asset=assets.path)
        filters = cast("dict[str, object]", self._environment.filters)
        filters.update(
            money=money, signed=_signed, clock=_clock, moment=_moment, why=_why, lasting=_lasting, many=_many
        )

    def page(self, template: str, values: Mapping[str, object]) -> str:
        """Return a page as HTML."""
        return self._environment.get_template(template).render(values)


@cache
def assets() -> Assets:
    """Return the files, which every site of this process shares."""
    return Assets(_HERE / "assets")


@cache
def templates() -> Templates:
    """Return the templates, which are compiled once for every site of this process."""
    return Templates(assets())


def _signed(cents: int) -> str:
    return f"+{money(cents)}" if cents > 0 else money(cents)


def _many(count: int) -> str:
    return f"{count:,}"


def _clock(at_ns: int) -> str:
    """Return the time of day, UTC."""
    return f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%H:%M:%S}"


def _moment(at_ns: int) -> str:
    """Return day and time of day, UTC."""
    return f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}"


def _why(word: str) -> str:
    """Return a reason of an order in a few words."""
    return REASONS.get(Reason[word.upper()], word) if word.upper() in Reason.__members__ else word


def _lasting(took_ns: int) -> str:
    """Return a duration as people read it."""
    if took_ns < 1_000:
        return f"{took_ns} ns"
    if took_ns < 1_000_000:
        return f"{took_ns / 1_000:.3g} \N{MICRO SIGN}s"
    return f"{took_ns / 1_000_000:.3g} ms"
