"""What somebody sees when there is no page to see: what happened, what became of it, what to do."""

from typing import Final

from archstone import world
from archstone.errors import BackendError, DeadlineError, RejectedError
from archstone.observability import get_logger
from archstone.resilience import RateLimitedError
from archstone.security import CrossSiteError
from archstone.services import ForbiddenError, NotSignedInError
from archstone.systems.exchange.accounts.contract import TooManyTriesError
from archstone.systems.exchange.desk.contract import UnknownInstrumentError
from archstone.systems.exchange.desk.risk import UnknownAccountError
from archstone.systems.exchange.web.asking import FormError, Page, PageMissingError

__all__ = ["failure_page"]

_log = get_logger("archstone.exchange.web")

_WORDS: Final[tuple[tuple[tuple[type[Exception], ...], int, str, str], ...]] = (
    (
        (PageMissingError, UnknownInstrumentError), 404,
        "There is no such page", "The address may be mistyped, or what it was about is traded no more.",
    ),
    (
        (UnknownAccountError,), 404, "The exchange knows no such account",
        "It knows an account from its first order on, or from when its owner first looked at a trading page.",
    ),
    (
        (CrossSiteError,), 403, "This did not come from the exchange",
        "Nothing has been done: the form was sent from another place. Open the page here and try again.",
    ),
    (
        (RateLimitedError, TooManyTriesError), 429, "That was a bit fast",
        "Nothing has been done. Wait a moment and try again.",
    ),
    (
        (NotSignedInError, ForbiddenError), 403, "This is not for you",
        "You are signed in as somebody who may not see this, or do it.",
    ),
    (
        (RejectedError,), 503, "The exchange is full",
        "Nothing has been done. Very many are here right now: try again in a moment.",
    ),
    (
        (DeadlineError, BackendError), 503, "This takes longer than it should",
        "Something does not answer. If you were trading, look at your orders before you try again.",
    ),
    ((FormError,), 400, "We cannot read this form", "It is too long, came too slowly, or is none of ours. Go back."),
)  # fmt: skip


def failure_page(error: Exception) -> Page:
    """Return the page for whatever went wrong. What nobody foresaw is logged under a reference that the page shows."""
    for kinds, status, title, text in _WORDS:
        if isinstance(error, kinds):
            return Page(template="message.html", values={"title": title, "text": text}, status=status)
    reference = world.new_id()
    _log.error("a page failed unexpectedly", reference=reference, exc_info=error)
    text = (
        "This is our fault, and it has been written down. If you were trading, look at your orders before you try"
        f" again. If you tell us, mention {reference}."
    )
    return Page(template="message.html", values={"title": "Something went wrong", "text": text}, status=500)
