"""Read what a form has sent: one form, not long, in time, and not too many at once."""

import asyncio
from typing import Final

from archstone.gateway import Receive
from archstone.resilience import OverloadedError
from archstone.systems.shop.web.asgi import ClientGoneError, Headers
from archstone.systems.shop.web.failures import FormError
from archstone.systems.shop.web.forms import fields_of

__all__ = ["Forms"]

LIMIT_BYTES: Final = 32_768
LIMIT_S: Final = 10.0
MOST: Final = 500
RETRY_AFTER_S: Final = 1.0
_TYPE: Final = b"application/x-www-form-urlencoded"


class Forms:
    """Reads forms, so many at once: who sends one slowly holds one of these places and nothing else."""

    def __init__(self) -> None:
        self._pending = 0

    async def read(self, headers: Headers, receive: Receive) -> dict[str, str]:
        """Return the fields of a form.

        Raises:
            FormError: it is no form, is longer than 32 KiB, has more than 50 fields, or took longer than 10 seconds.
            OverloadedError: 500 forms are under way already.
            ClientGoneError: the client hung up.
        """
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != _TYPE:
            raise FormError(415)
        if self._pending >= MOST:
            raise OverloadedError("shop pages", "forms pending", self._pending, MOST, RETRY_AFTER_S)
        self._pending += 1
        try:
            async with asyncio.timeout(LIMIT_S):
                return fields_of(await _body(receive))
        except TimeoutError as error:
            raise FormError(408) from error
        except ValueError as error:
            raise FormError(413) from error
        finally:
            self._pending -= 1


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > LIMIT_BYTES:
            raise FormError(413)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
