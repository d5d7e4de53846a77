"""A request as a page sees it, and what a page answers: values, without a word of ASGI."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from archstone.context import NOBODY, Principal
from archstone.gateway import Receive
from archstone.security import HostCookie
from archstone.systems.exchange.accounts.contract import Visitor
from archstone.systems.exchange.clearing import FeeSchedule
from archstone.systems.exchange.instruments import Instruments
from archstone.systems.exchange.web.clients import Clients

__all__ = ["Answer", "FormError", "Hall", "Page", "PageMissingError", "Redirect", "Request", "local_path"]

_LONGEST_PATH: Final = 300


class PageMissingError(Exception):
    """There is no such page."""


class FormError(Exception):
    """What was sent is no form of ours; `status` says how."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Hall:
    """What every page has at hand."""

    clients: Clients
    instruments: Instruments
    fees: FeeSchedule
    """What trading costs."""


@dataclass(slots=True, kw_only=True)
class Request:
    """What was asked, by whom."""

    method: str
    path: str
    query: Mapping[str, str]
    """The first value of each parameter."""
    headers: Mapping[bytes, bytes]
    https: bool
    address: str
    """What a client that has not signed in is counted by."""
    theme: str
    token: str | None
    """Of the browser's session. None: it has none."""
    receive: Receive
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    """The variable parts of the path."""
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    """What was typed; empty unless the method is POST."""
    visitor: Visitor | None = None

    @property
    def principal(self) -> Principal:
        """Whom the services see."""
        if self.visitor is None:
            return NOBODY
        return Principal(str(self.visitor.account), frozenset({self.visitor.role}))

    @property
    def counted_as(self) -> str:
        """What the visitor is counted by."""
        return self.address if self.visitor is None else f"account:{self.visitor.account}"

    @property
    def next(self) -> str:
        """Where the visitor wanted to go before being asked who they are."""
        return local_path(self.form.get("next") or self.query.get("next", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A template and what stands in it."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """See the other page, with GET."""

    to: str
    cookies: tuple[HostCookie, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()


Answer = Page | Redirect


def local_path(offered: str, otherwise: str = "/") -> str:
    """Return `offered` if it is a path of ours, else `otherwise`: nobody is sent to another site after signing in."""
    plain = offered.isascii() and offered.isprintable() and not {" ", "\\"} & set(offered)
    ours = offered.startswith("/") and not offered.startswith("//") and plain and len(offered) <= _LONGEST_PATH
    return offered if ours else otherwise
