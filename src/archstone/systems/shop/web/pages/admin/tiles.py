"""Single figures, each in words."""

from typing import Final, NamedTuple

from archstone.gateway import Figures
from archstone.systems.shop.analytics.contract import Summary
from archstone.systems.shop.web.money import Locale
from archstone.systems.shop.web.pages.admin.plots import in_words

__all__ = ["Tile", "of_run", "of_shop"]

NEUTRAL: Final = "plain"
BAD: Final = "bad"


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
        Tile("rate", "Orders per minute, last hour", _rate(summary.orders_per_minute)),
        Tile("revenue", "Revenue", in_words(summary.revenue, summary.currency, locale)),
        Tile("conversion", "Confirmed of placed", in_words(summary.conversion_ratio, "ratio", locale)),
        Tile("placed", "Orders placed", str(summary.placed)),
        Tile("cancelled", "Orders cancelled", str(summary.cancelled)),
    )


def of_run(now: Figures, locale: Locale) -> tuple[Tile, ...]:
    """Return how the run does now, and what waits for a person."""
    asked = sum(now.requests.values())
    return (
        Tile("stuck", "Stuck sagas", str(now.sagas_stuck), _tone(now.sagas_stuck), "/admin/sagas?status=stuck"),
        Tile("dead", "Dead letters", str(now.dead), _tone(now.dead), "/admin/letters"),
        Tile("requests", "Requests, last minute", str(asked)),
        Tile("p95", "95 of 100 answered within", in_words(now.p95_s, "s", locale)),
        Tile("errors", "Errors, last minute", str(now.errors), _tone(now.errors)),
        Tile("lag", "Queue lag", in_words(now.relay_lag_s, "s", locale)),
        Tile("memory", "Memory", f"{now.memory_bytes / 2**20:.0f} MiB" if now.memory_bytes else "\u2013"),
    )


def _rate(per_minute: float) -> str:
    return f"{per_minute:.2f}" if 0 < per_minute < 1 else f"{per_minute:.1f}"


def _tone(count: int) -> str:
    return BAD if count else NEUTRAL
