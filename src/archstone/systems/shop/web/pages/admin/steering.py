"""What the pages that steer the run have in common: the console, times, and words for what came of an act."""

from datetime import UTC, datetime

from archstone.gateway import Console
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import PageMissingError

__all__ = ["console_of", "instant"]


def console_of(desk: Desk) -> Console:
    """Return what steers the run.

    Raises:
        PageMissingError: whoever runs the shop gives the pages nothing of the kind.
    """
    if desk.console is None:
        raise PageMissingError
    return desk.console


def instant(us: int | None) -> datetime | None:
    """Return an instant that is told in microseconds. None: it is not known."""
    return None if us is None else datetime.fromtimestamp(us / 1_000_000, UTC)
