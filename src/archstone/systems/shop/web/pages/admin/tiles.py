"""Single figures, each in words."""

from typing import Final, NamedTuple

from archstone.systems.shop.analytics.contract import Summary
from archstone.systems.shop.web.money import Locale
from archstone.systems.shop.web.pages.admin.plots import in_words

__all__ = ["Tile", "of_shop"]

NEUTRAL: Final = "plain"


class Tile(NamedTuple):
    """One figure."""

    name: str
    label: str
    text: str
    tone: str = NEUTRAL
    """`plain`, or `bad` if somebody should look."""
    to: str | None = None
    """The page that tells more."""


def of_shop(summary: Summary, locale: Locale) -> tuple[Tile, ...]:
    """Return what the shop has done since it was opened."""
    return (
        Tile("rate", "Orders per minute, last hour", f"{summary.orders_per_minute:.1f}"),
        Tile("revenue", "Revenue", in_words(summary.revenue, summary.currency, locale)),
        Tile("conversion", "Confirmed of placed", in_words(summary.conversion_ratio, "ratio", locale)),
        Tile("placed", "Orders placed", str(summary.placed)),
        Tile("cancelled", "Orders cancelled", str(summary.cancelled)),
    )
