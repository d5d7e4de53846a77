"""Requests and answers as pages have them, beyond what the gateway offers."""

import gzip
from collections.abc import Iterable
from typing import Final

from archstone import gateway

__all__ = ["BrokenRequestError", "ClientGoneError", "Headers", "Response", "accepts_gzip", "headers_of"]

Headers = dict[bytes, bytes]
"""Request headers by lower-case name."""

MOST_HEADERS: Final = 100
MOST_BYTES: Final = 32_768
_ONCE: Final = frozenset({b"content-type", b"host", b"last-event-id", b"origin", b"sec-fetch-site"})
"""Headers that decide something: what came twice cannot be trusted."""
_LONGEST_ACCEPT: Final = 500
WORTH_PACKING: Final = 1_000
"""Bytes from which an answer is packed."""
_LEVEL: Final = 3
"""Of gzip, for what is packed anew each time: 20 KB in 0.2 ms."""


class ClientGoneError(Exception):
    """The client hung up before the end of its request."""


class BrokenRequestError(Exception):
    """The headers are too many, too long, or contradict each other."""


class Response(gateway.Response):
    """An answer of which `packed` is the body by gzip, if that is kept."""

    __slots__ = ("packed",)

    def __init__(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"", *, packed: bytes | None = None
    ) -> None:
        super().__init__(status, headers, body)
        self.packed = packed

    def pack(self, *, wanted: bool) -> None:
        """Pack the body if the reader wants that and it gets smaller. `Vary` tells caches about it either way.

        Pages hold no secret beside text that another site could choose: there is no token against forgery in them,
        `Origin` is looked at, and cookies go along with nobody's images. So their size tells nothing (BREACH).
        """
        if self.packed is None and len(self.body) < WORTH_PACKING:
            return
        self.headers.append((b"vary", b"accept-encoding"))
        if wanted:
            self.body = self.packed or gzip.compress(self.body, compresslevel=_LEVEL, mtime=0)
            self.headers.append((b"content-encoding", b"gzip"))


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers of a request; of one that came more than once, and decides nothing, the last.

    Raises:
        BrokenRequestError: there are more than 100, together longer than 32 KiB, or one that decides came twice.
    """
    found: Headers = {}
    size = 0
    for count, (name, value) in enumerate(pairs, 1):
        size += len(value)
        if count > MOST_HEADERS or size > MOST_BYTES or (name in _ONCE and name in found):
            raise BrokenRequestError
        found[name] = value
    return found


def accepts_gzip(pairs: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether the reader takes gzip: it says so, and not with the weight 0."""
    text = b",".join(value for name, value in pairs if name == b"accept-encoding")[:_LONGEST_ACCEPT].lower()
    wishes: dict[bytes, bytes] = {}
    for part in text.split(b","):
        name, _, weight = part.replace(b" ", b"").partition(b";q=")
        wishes[name] = weight or b"1"
    weight = wishes.get(b"gzip", wishes.get(b"*", b"0"))
    return weight.strip(b"0.") != b""
