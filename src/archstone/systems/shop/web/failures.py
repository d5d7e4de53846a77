"""What somebody sees when there is no page to see: what happened, what became of it, what to do."""

from dataclasses import replace
from typing import Final, NamedTuple

from archstone import world
from archstone.errors import BackendError, DeadlineError, RejectedError
from archstone.observability import get_logger
from archstone.resilience import RateLimitedError
from archstone.security import CrossSiteError
from archstone.services import ForbiddenError, NotSignedInError
from archstone.systems.shop.web.asgi import BrokenRequestError
from archstone.systems.shop.web.exchange import Page, PageMissingError

__all__ = ["FormError", "MethodError", "failure_page"]

_log = get_logger("archstone.shop.web")


class FormError(Exception):
    """What was sent is no form of ours; `status` says how."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class MethodError(Exception):
    """The page is there, but not for this method. `allowed` names those that there are."""

    def __init__(self, allowed: str) -> None:
        super().__init__(allowed)
        self.allowed = allowed


class _Words(NamedTuple):
    status: int
    title: str
    text: str
    drawing: str = "cable"
    """What is drawn beside it."""


_WORDS: Final[tuple[tuple[tuple[type[Exception], ...], _Words], ...]] = (
    (
        (PageMissingError,),
        _Words(404, "There is no such page", "It may have moved, or the product is not for sale any more.", "compass"),
    ),
    ((MethodError,), _Words(405, "This does not work that way", "Please go back and use the button on the page.")),
    (
        (CrossSiteError,),
        _Words(
            403,
            "This did not come from the shop",
            "For your safety, nothing has been done: the form was sent from another place, or your browser does not"
            " say from where. Please open the page here and try again.",
        ),
    ),
    (
        (RateLimitedError,),
        _Words(429, "That was a bit fast", "Nothing has been done. Please wait a moment and try again."),
    ),
    (
        (NotSignedInError, ForbiddenError),
        _Words(403, "This is not for you", "You are signed in as somebody who may not see this.", "clamp"),
    ),
    (
        (RejectedError,),
        _Words(503, "The shop is full", "Very many people are here right now. Please try again in a moment."),
    ),
    (
        (DeadlineError, BackendError),
        _Words(
            503,
            "This takes longer than it should",
            "Something in the shop does not answer. If you were changing something, please look whether it has been"
            " changed before you try again.",
        ),
    ),
    (
        (BrokenRequestError,),
        _Words(400, "This request is broken", "Please go back and try again. If it lasts, delete the shop's cookies."),
    ),
)
_FORM: Final = {
    408: "It took too long to arrive. Please try again.",
    413: "It was longer than anything that we ask for.",
    415: "It was not sent by a form of the shop.",
}


def failure_page(error: Exception) -> Page:
    """Return the page for whatever went wrong. What nobody foresaw is logged under a reference that the page shows."""
    if isinstance(error, FormError):
        return _page(_Words(error.status, "We cannot read this form", _FORM[error.status]))
    for kinds, words in _WORDS:
        if isinstance(error, kinds):
            page = _page(words, retry_after_s=getattr(error, "retry_after_s", None))
            if isinstance(error, MethodError):
                return replace(page, headers=((b"allow", error.allowed.encode()),))
            return page
    reference = world.new_id()
    _log.error("a page failed unexpectedly", reference=reference, exc_info=error)
    text = (
        "This is our fault, and it has been written down. If you were ordering, please look at your orders before you"
        f" try again. If you write to us, mention {reference}."
    )
    return _page(_Words(500, "Something went wrong", text))


def _page(words: _Words, *, retry_after_s: float | None = None) -> Page:
    return Page(
        template="message.html",
        values={
            "title": words.title,
            "text": words.text,
            "drawing": words.drawing,
            "code": str(words.status),
        },
        status=words.status,
        retry_after_s=retry_after_s,
    )
