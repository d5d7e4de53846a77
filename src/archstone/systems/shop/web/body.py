"""Read what a form has sent: one form, not long, in time."""

import asyncio
from typing import Final

from archstone.systems.shop.web.asgi import ClientGoneError, Headers, Receive
from archstone.systems.shop.web.failures import FormError
from archstone.systems.shop.web.forms import fields_of

__all__ = ["read_form"]

LIMIT_BYTES: Final = 32_768
LIMIT_S: Final = 10.0
_TYPE: Final = b"application/x-www-form-urlencoded"


async def read_form(headers: Headers, receive: Receive) -> dict[str, str]:
    """Return the fields of the form.

    Raises:
        FormError: it is no form, is longer than 32 KiB, has more than 50 fields, or took longer than 10 seconds.
        ClientGoneError: the client hung up.
    """
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != _TYPE:
        raise FormError(415)
    try:
        async with asyncio.timeout(LIMIT_S):
            body = await _body(receive)
        return fields_of(body)
    except TimeoutError as error:
        raise FormError(408) from error
    except ValueError as error:
        raise FormError(413) from error


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
