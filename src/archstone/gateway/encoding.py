"""Pack an answer as small as its reader accepts: brotli or gzip, chosen by `Accept-Encoding`.

Promise: what is refused with `q=0` is never used, what is tiny is left alone, and every answer that could have been
packed says `Vary: Accept-Encoding`. Small bodies are packed on the loop, large ones in a thread.
Not for: answers to commands. They may hold a token beside text of the client's choice, and the size of a packed
answer tells the one through the other (BREACH).

Source: RFC 9110, section 12.5.3; RFC 7932 (brotli).
"""

import asyncio
import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, cast

try:
    import brotli  # pyright: ignore[reportMissingTypeStubs]
except ImportError:  # the extra `serve` brings it; without it gzip serves
    brotli = None

from archstone.resilience import check
from archstone.services.http import Response

__all__ = ["Compress", "Encoding", "choose_encoding", "pack", "worth_packing"]

Encoding = Literal["br", "gzip", "identity"]

INLINE_BYTES: Final = 65_536
"""Bodies up to this size are packed on the loop (about a millisecond), larger ones in a thread."""

_TEXTS: Final = (b"application/json", b"application/problem+json", b"text/")
_ITEM: Final = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)(?:[ \t]*;[ \t]*q=([01](?:\.[0-9]{0,3})?))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compress:
    """Which answers are packed, and how hard."""

    min_bytes: int = 1024
    """Shorter bodies are sent as they are. At least 0."""
    brotli_quality: int = 4
    """0 (fast) to 11 (small)."""
    gzip_level: int = 5
    """1 (fast) to 9 (small)."""

    def __post_init__(self) -> None:
        """Check all settings at once."""
        check(
            self,
            min_bytes=(self.min_bytes >= 0, "at least 0"),
            brotli_quality=(0 <= self.brotli_quality <= 11, "in [0, 11]"),
            gzip_level=(1 <= self.gzip_level <= 9, "in [1, 9]"),
        )


@lru_cache(maxsize=256)
def choose_encoding(accept: bytes) -> Encoding:
    """Return the best encoding for an `Accept-Encoding` header; brotli wins a tie. Nonsense accepts nothing."""
    wishes: dict[str, float] = {}
    for item in accept.decode("latin-1").lower().split(",")[:32]:
        if (found := _ITEM.fullmatch(item.strip(" \t"))) is not None:
            wishes[found[1]] = float(found[2] or "1")
    if "x-gzip" in wishes:
        wishes.setdefault("gzip", wishes["x-gzip"])
    rest = wishes.get("*", 0.0)
    brotli_wish = wishes.get("br", rest) if brotli is not None else 0.0
    gzip_wish = wishes.get("gzip", rest)
    if max(brotli_wish, gzip_wish) <= 0 or wishes.get("identity", 0.0) > max(brotli_wish, gzip_wish):
        return "identity"
    return "br" if brotli_wish >= gzip_wish else "gzip"


def worth_packing(response: Response, how: Compress) -> bool:
    """Return whether the body may be packed, and if so say in the headers that the answer depends on the reader."""
    if len(response.body) < how.min_bytes or not _packable(response.headers):
        return False
    response.headers.append((b"vary", b"accept-encoding"))
    return True


async def pack(response: Response, accept: bytes, how: Compress) -> None:
    """Pack the body in place, if the reader accepts that, and say how in the headers."""
    encoding = choose_encoding(accept)
    if encoding == "identity":
        return
    squeeze = _squeezer(encoding, how)
    if len(response.body) <= INLINE_BYTES:
        response.body = squeeze(response.body)
    else:
        response.body = await asyncio.to_thread(squeeze, response.body)
    response.headers.append((b"content-encoding", encoding.encode()))


def _packable(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether it is text that nobody has packed yet."""
    text = False
    for name, value in headers:
        if name == b"content-encoding":
            return False
        if name == b"content-type":
            text = value.startswith(_TEXTS)
    return text


def _squeezer(encoding: Encoding, how: Compress) -> Callable[[bytes], bytes]:
    if encoding == "br" and brotli is not None:
        compress = cast("Callable[..., bytes]", brotli.compress)  # pyright: ignore[reportUnknownMemberType]
        return lambda body: compress(body, quality=how.brotli_quality)
    # mtime 0: the same body gives the same bytes.
    return lambda body: gzip.compress(body, compresslevel=how.gzip_level, mtime=0)
