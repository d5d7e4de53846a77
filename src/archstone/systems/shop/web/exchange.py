"""A request as a page sees it, and what a page answers: values, without a word of ASGI."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from archstone.context import NOBODY, Principal
from archstone.gateway import Receive
from archstone.security import HostCookie
from archstone.systems.shop.users.contract import Visitor
from archstone.systems.shop.web.asgi import Headers
from archstone.systems.shop.web.cookies import CART
from archstone.systems.shop.web.money import Locale

__all__ = ["Answer", "Page", "PageMissingError", "Redirect", "Request", "local_path"]

_LONGEST_PATH: Final = 300


class PageMissingError(Exception):
    """There is no such page."""


@dataclass(slots=True, kw_only=True)
class Request:
    """What was asked, by whom."""

    method: str
    path: str
    query: Mapping[str, str]
    """The first value of each parameter."""
    headers: Headers
    cookies: Mapping[str, str]
    https: bool
    address: str
    """What a client that has not signed in is counted by."""
    locale: Locale
    receive: Receive
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    """The variable parts of the path."""
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    """What was typed; empty unless the method is POST. White space around it is gone, except from passwords."""
    visitor: Visitor | None = None
    mark: str | None = None
    """Names the session of the visitor's browser."""
    renewed: bool = False
    """Whether the session has just been renewed, so that the browser is to keep its cookie longer as well."""

    @property
    def principal(self) -> Principal:
        """Whom the services see."""
        if self.visitor is None:
            return NOBODY
        return Principal(self.visitor.user.id, frozenset(self.visitor.user.roles))

    @property
    def counted_as(self) -> str:
        """What the visitor is counted by."""
        return self.address if self.visitor is None else f"user:{self.visitor.user.id}"

    @property
    def guest_cart(self) -> str | None:
        """The name of the guest's cart that this browser has. None: it has none."""
        return self.cookies.get(CART)

    @property
    def cart(self) -> str | None:
        """The name of the visitor's cart. None: a guest who has none yet."""
        return self.guest_cart if self.visitor is None else "me"

    @property
    def told(self) -> str:
        """What the page before wanted to be said here, as the name of one of our sentences."""
        return self.query.get("told", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A template and what stands in it."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    status: int = 200
    cookies: tuple[HostCookie, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """More headers, names in lower case."""
    retry_after_s: float | None = None
    """When to try again. None: nothing is said about it."""
    part: bool = False
    """Whether it is a part of a page, which needs nothing of the frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """See the other page, with GET."""

    to: str
    cookies: tuple[HostCookie, ...] = ()


Answer = Page | Redirect


def local_path(offered: str, otherwise: str = "/") -> str:
    """Return `offered` if it is a path of ours, else `otherwise`: nobody is sent to another site after signing in."""
    plain = offered.isascii() and offered.isprintable() and not {" ", "\\"} & set(offered)
    ours = offered.startswith("/") and not offered.startswith("//") and plain and len(offered) <= _LONGEST_PATH
    return offered if ours else otherwise
