"""Requests and answers as pages have them, beyond what the gateway offers."""

import gzip
from collections.abc import Iterable
from typing import Final

from archstone import gateway

__all__ = ["BrokenRequestError", "ClientGoneError", "Headers", "Response", "headers_of"]

Headers = dict[bytes, bytes]
"""Request headers by lower-case name."""

MOST_HEADERS: Final = 100
MOST_BYTES: Final = 32_768
_ONCE: Final = frozenset({b"content-type", b"host", b"last-event-id", b"origin", b"sec-fetch-site"})
"""Headers that decide something: what came twice cannot be trusted."""
WORTH_PACKING: Final = 1_000
"""Bytes from which an answer is packed."""
_LEVEL: Final = 3
"""Of gzip, for what is packed anew each time: 20 KB in 0.2 ms."""


class ClientGoneError(Exception):
    """The client hung up before the end of its request."""


class BrokenRequestError(Exception):
    """The headers are too many, too long, or contradict each other."""


class Response(gateway.Response):
    """An answer that can be packed."""

    __slots__ = ()

    def pack(self, *, wanted: bool) -> None:
        """Pack the body if the reader wants that and it gets smaller. `Vary` tells caches about it either way.

        Pages hold no secret beside text that another site could choose: there is no token against forgery in them,
        `Origin` is looked at, and cookies go along with nobody's images. So their size tells nothing (BREACH).
        """
        if len(self.body) < WORTH_PACKING:
            return
        self.headers.append((b"vary", b"accept-encoding"))
        if wanted:
            self.body = gzip.compress(self.body, compresslevel=_LEVEL, mtime=0)
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
