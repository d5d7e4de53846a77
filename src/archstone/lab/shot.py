"""What a load model hands to the lab: what to send and when, and what to find out afterwards.

A system's `traffic.py` has one object, `load`, of the form `Load`. The lab knows nothing of products and orders. What
not every load has is a form of its own: `Choosing`, `ManyWays`, `Promising`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any, NamedTuple, Protocol, runtime_checkable

from archstone.lab.connection import Answer
from archstone.lab.http import Http

__all__ = ["Choosing", "Kept", "Load", "ManyWays", "Promising", "Shot", "Way"]


class Shot(NamedTuple):
    """One request, in the form in which it goes over the wire."""

    at_s: float
    """When it is due, seconds from the first instant of its phase."""
    kind: str
    """What the report calls it: `browse`, `checkout`."""
    head: bytes
    """Request line and its own headers, each line with its end. Host and Content-Length are added."""
    sender: int
    """Whose headers go with it: an index into what `Load.prepare` returned."""
    body: bytes = b""
    note: Any = None
    """If not None, the body of a good answer is kept beside it for `Load.settle`."""
    way: str = ""
    """On which of the `ManyWays.ways` it goes: then `body` is all of it, and `head` and `sender` are not looked at.
    Empty: over HTTP."""


Kept = tuple[Any, bytes]
"""The note of a shot, and the body of its good answer."""


class Load(Protocol):
    """A system's load model."""

    async def prepare(self, http: Http, *, rate_per_s: float, tell: Callable[[str], None]) -> Sequence[bytes]:
        """Make ready whoever will send, and return the headers of each, each line with its end.

        Args:
            http: Asks the system.
            rate_per_s: The highest rate to come: how many senders are needed follows from it.
            tell: Takes a line for the person who waits.
        """
        ...

    def shots(self, *, rate_per_s: float, duration_s: float, chance: Random) -> list[Shot]:
        """Return what to send in a phase, by time. The same chance gives the same shots."""
        ...

    async def settle(self, http: Http, kept: Sequence[Kept]) -> Mapping[str, Any]:
        """Find out what became of what was accepted: figures by name, `None` for what cannot be known."""
        ...


class Way(Protocol):
    """A connection that is no HTTP, with requests under way on it at once: a WebSocket, a protocol of the system."""

    def send(self, body: bytes, answer: Answer) -> None:
        """Send a request; `answer` is called once, by what a status over HTTP would be; 0: the connection has ended."""
        ...


@runtime_checkable
class ManyWays(Protocol):
    """What a load has besides, if not all of its shots go over HTTP."""

    def ways(self, url: str, /) -> AbstractAsyncContextManager[Mapping[str, Way]]:
        """Open the ways that `Shot.way` names, after `prepare`; they are open until `settle` has returned.

        Args:
            url: Where the system is, http://HOST:PORT.

        Raises:
            LabError: The system does not let itself be reached so.
        """
        ...


@runtime_checkable
class Choosing(Protocol):
    """What a load has besides, if something can be chosen about it."""

    def choose(self, options: Mapping[str, str]) -> None:
        """Take what `--set NAME=VALUE` has said, before all else. ConfigError: it knows no such name or value."""
        ...


@runtime_checkable
class Promising(Protocol):
    """What a load has besides, if figures of `settle` must be 0: otherwise the verb ends with 1."""

    @property
    def never(self) -> Sequence[str]:
        """The names of these figures."""
        ...
