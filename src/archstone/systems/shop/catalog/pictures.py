"""A drawn picture of every product: the same SKU always gives the same SVG, no file and no library needed."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

__all__ = ["picture", "pictures"]

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PATH: Final = re.compile(r"/([A-Z0-9][A-Z0-9-]{2,19})\.svg$")
_SHAPES: Final = {
    "KIT": '<path d="M96 176h128l-14 74a16 16 0 0 1-16 13h-68a16 16 0 0 1-16-13z"/>'
    '<path d="M84 156h152v20H84z"/><path d="M150 136h20v20h-20z"/>',
    "GAR": '<path d="M154 270V170h12v100z"/><path d="M160 178c-60 0-70-50-66-80 40 0 66 30 66 80z"/>'
    '<path d="M160 158c0-50 30-70 68-66 0 40-28 66-68 66z"/>',
    "DES": '<path d="M88 96h110l34 34v130H88z"/>'
    '<path d="M112 150h92v8h-92zm0 28h92v8h-92zm0 28h60v8h-60z" class="ink"/>',
    "AUD": '<rect x="106" y="72" width="108" height="196" rx="12"/><circle cx="160" cy="124" r="24" class="ink"/>'
    '<circle cx="160" cy="204" r="38" class="ink"/>',
    "OUT": '<path d="M160 84 60 262h200z"/><path d="m160 150-44 112h88z" class="ink"/>',
    "TOY": '<rect x="76" y="180" width="76" height="76"/><rect x="164" y="180" width="76" height="76" class="ink"/>'
    '<path d="m160 84 48 88h-96z"/>',
    "HOM": '<path d="M160 72 60 160h28v104h144V160h28z"/><path d="M140 196h40v68h-40z" class="ink"/>',
    "BOO": '<path d="M80 88h70c6 0 10 4 10 10v160c0-6-4-10-10-10H80z"/>'
    '<path d="M240 88h-70c-6 0-10 4-10 10v160c0-6 4-10 10-10h70z" class="ink"/>',
    "SPO": '<circle cx="160" cy="170" r="92"/>'
    '<path d="M76 140c60 30 110 30 168 0v14c-58 30-108 30-168 0z" class="ink"/>',
    "TOO": '<path d="M92 84h112v44H92z"/><path d="M136 128h28v140h-28z" class="ink"/>',
}
_OTHER: Final = '<circle cx="160" cy="170" r="80"/>'


def picture(sku: str) -> str:
    """Return the picture of a product as SVG text, 320 by 320 units."""
    chance = hashlib.blake2s(sku.encode(), digest_size=4).digest()
    hue = chance[0] * 360 // 256
    turn = chance[1] % 13 - 6
    x, y = 40 + chance[2] % 240, 30 + chance[3] % 60
    shape = _SHAPES.get(sku[:3], _OTHER)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 320" role="img">'
        f"<title>{sku}</title>"
        f"<style>.ink{{fill:hsl({hue} 45% 32%)}}</style>"
        f'<rect width="320" height="320" fill="hsl({hue} 40% 90%)"/>'
        f'<circle cx="{x}" cy="{y}" r="18" fill="hsl({(hue + 40) % 360} 70% 78%)"/>'
        f'<ellipse cx="160" cy="276" rx="96" ry="10" fill="hsl({hue} 25% 78%)"/>'
        f'<g fill="hsl({hue} 52% 52%)" transform="rotate({turn} 160 170)">{shape}</g>'
        "</svg>"
    )


async def pictures(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve `…/SKU.svg`: an ASGI application to mount under `/pictures`. Anything else is 404."""
    del receive
    if scope["type"] != "http":
        return
    found = _PATH.search(scope["path"])
    wanted = found is not None and scope["method"] in {"GET", "HEAD"}
    body = picture(found[1]).encode() if found is not None and wanted else b""
    headers = [
        (b"content-type", b"image/svg+xml"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"public, max-age=86400"),
        (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200 if wanted else 404, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
