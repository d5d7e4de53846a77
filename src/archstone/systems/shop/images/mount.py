"""Answers `/images/...`: the picture of elsewhere, small, or the drawing of the product. Never a broken image.

This is no open proxy. A path names a product and the number of a picture, and the catalog is asked for its address;
the mark in the path must be that address's. Whatever goes wrong, the browser gets the drawing with 200 and asks again
soon. Only this request waits for a fetch, three seconds at most; no page does.
"""

import asyncio
from typing import Final

from archstone import context, world
from archstone.context import Call
from archstone.errors import ArchstoneError
from archstone.gateway import Receive, Response, Scope, Send
from archstone.observability import counter
from archstone.resilience import Shed
from archstone.systems.shop.catalog.contract import Catalog, Product, UnknownProductError
from archstone.systems.shop.catalog.pictures import drawing_of, picture
from archstone.systems.shop.images.failures import ImageError
from archstone.systems.shop.images.paths import ImagePath, mark_of, read_path
from archstone.systems.shop.images.proxy import ImageProxy

__all__ = ["Images"]

PATIENCE_S: Final = 3.0
"""Seconds that a browser waits before it gets the drawing. The fetch goes on."""
_INSIDE: Final = Shed(500)
"""Requests that are inside at once. Long turns of the loop refuse none: what stands in for a picture costs as much."""
_KEPT: Final = b"public, max-age=31536000, immutable"
_A_WHILE: Final = b"public, max-age=60"
_SOON: Final = b"public, max-age=5"
_PLAIN: Final = ((b"content-security-policy", b"default-src 'none'"),)

_answers = counter("shop_images", "Pictures of products asked for, by what was shown.", ("shown",))


class Images:
    """An ASGI 3 application to mount under `/images`."""

    def __init__(self, catalog: Catalog, proxy: ImageProxy | None) -> None:
        """Say who knows the products, and who fetches. None: nobody, and every answer is a drawing."""
        self._catalog = catalog
        self._proxy = proxy
        self._gate = _INSIDE.bind("shop images")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says. There is nothing to open or close."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        if scope["type"] != "http":
            return
        wanted = read_path(scope["path"]) if scope["method"] in {"GET", "HEAD"} else None
        if wanted is None:
            await Response(404, [*_PLAIN]).send(send)
            return
        call = Call(deadline_s=world.monotonic() + PATIENCE_S, correlation_id=world.new_id())
        with context.enter(call):
            response = await self._answer(wanted)
        await response.send(send)

    async def _answer(self, wanted: ImagePath) -> Response:
        """Return the picture, or the drawing of what is known of the product."""
        product: Product | None = None
        keep = _A_WHILE
        try:
            with self._gate.admit():
                async with asyncio.timeout(PATIENCE_S):
                    product = await self._catalog.product(wanted.sku)
                    body = await self._small(wanted, product)
            _answers.labels("picture").inc()
            return Response(200, [*_PLAIN, (b"content-type", b"image/webp"), (b"cache-control", _KEPT)], body)
        except ImageError as error:
            keep = _SOON if error.outcome == "full" else _A_WHILE
        except UnknownProductError:
            pass  # it is not for sale any more
        except (TimeoutError, ArchstoneError):
            keep = _SOON  # it is still being fetched, or there is no room inside
        _answers.labels("drawing").inc()
        return _drawing(wanted.sku, product, keep)

    async def _small(self, wanted: ImagePath, product: Product) -> bytes:
        """Return the picture, if it is one of the product's."""
        number = wanted.number - 1
        address = product.images[number] if number < len(product.images) else None
        if self._proxy is None or address is None or mark_of(address) != wanted.mark:
            raise ImageError("refused", "the product has no such picture")
        return await self._proxy.image(address, wanted.width)


def _drawing(sku: str, product: Product | None, keep: bytes) -> Response:
    body = picture(sku, "" if product is None else drawing_of(product.name, product.category)).encode()
    return Response(200, [*_PLAIN, (b"content-type", b"image/svg+xml"), (b"cache-control", keep)], body)
