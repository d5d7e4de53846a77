"""A drawn picture of every product: the same address always gives the same SVG, no file and no library needed.

What a product looks like is told by its name: a knife shows a knife. The drawings stand in `drawings.txt`. A product
for whose name and category there is none shows its first letter, or a parcel if no letter of it is Latin. The address
holds all that the picture is made of and a version of the drawings, so that a browser never has to ask for one twice.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["drawing_of", "drawing_path", "picture", "picture_path", "pictures"]

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SOURCE: Final = Path(__file__).with_name("drawings.txt")
_PATH: Final = re.compile(r"(?:/pictures)?/(?:([a-z]{2,16}|letter-[A-Z0-9])/)?([A-Z0-9][A-Z0-9-]{2,19})\.svg")
_WORD: Final = re.compile(r"[a-z0-9]+")
_OF_SHELF: Final = {
    "kitchen": "pan", "garden": "can", "desk": "notebook", "audio": "speaker", "outdoor": "tent", "toys": "blocks",
    "home": "lamp", "books": "book", "sport": "football", "tools": "hammer",
}  # fmt: skip
"""What stands for a product of a shelf of ours if its name names nothing that is drawn."""
_OF_PREFIX: Final = {shelf[:3].upper(): drawing for shelf, drawing in _OF_SHELF.items()}
_FIXED: Final = {
    "k": "#2f2d38", "w": "#fffaf1", "m": "#ccd3db", "n": "#8792a1", "p": "#96653a", "q": "#cd9a63", "g": "#69a463",
    "h": "#437a4b", "s": "#7db4dc", "t": "#33567f", "y": "#f3c653", "x": "#ee8b4a", "u": "#f0b48c",
}  # fmt: skip
_PALETTES: Final = (  # ground, shadow, main, darker, lighter, one that stands out
    ("#dcebe4", "#bfd6cb", "#3f8f78", "#2d6b59", "#74bda6", "#f0a04b"),
    ("#fbe6d6", "#e9c9b1", "#d9704a", "#ab4f30", "#f0a284", "#3f7f93"),
    ("#dfe8f4", "#c1cfe2", "#4f7cb5", "#365a89", "#8fb3de", "#f2b84b"),
    ("#f6e3e4", "#e2c4c7", "#c25b6c", "#94404f", "#e59aa5", "#4c8f8a"),
    ("#f5ecd2", "#e0d2ab", "#c9962f", "#96701f", "#ebc878", "#b6523d"),
    ("#e6e2f2", "#cbc4e0", "#7d6bb5", "#5b4c8a", "#b1a3dc", "#e98a5b"),
    ("#e3edd9", "#c8d8b8", "#6f9a4b", "#507233", "#a5c986", "#d0604f"),
    ("#d9ecee", "#b9d5d9", "#2f8a99", "#216672", "#72bfca", "#ef9f6b"),
)


class _Drawing(NamedTuple):
    words: tuple[str, ...]
    turn: str
    lines: tuple[tuple[str, str], ...]
    """Colour and shape."""


def _read(text: str) -> dict[str, _Drawing]:
    found: dict[str, _Drawing] = {}
    for part in re.split(r"^= ", text, flags=re.MULTILINE)[1:]:
        head, *lines = part.strip().split("\n")
        name, _, words = head.partition(": ")
        turns = [line[2:] for line in lines if line[0] == "@"]
        under = [shape for line in lines if line[0] == "+" for shape in found[line[2:]].lines]
        shapes = [*under, *((line[0], line[2:]) for line in lines if line[0] not in "@+")]
        found[name] = _Drawing(tuple(words.split(", ")), "".join(turns), tuple(shapes))
    return found


_TEXT: Final = _SOURCE.read_text(encoding="utf-8")
_DRAWINGS: Final = _read(_TEXT)
_OTHERS: Final = {
    word: name
    for name, drawing in _DRAWINGS.items()
    for word in drawing.words
    if name == "book" or not name.startswith("book")
}
_BOOKS: Final = {word: name for name, drawing in _DRAWINGS.items() for word in drawing.words if name.startswith("book")}
_VERSION: Final = hashlib.blake2s(_TEXT.encode() + Path(__file__).read_bytes(), digest_size=4).hexdigest()


@lru_cache(maxsize=4096)
def drawing_of(name: str, category: str) -> str:
    """Return which drawing shows a product: by its name, else its shelf, else its first letter, else a parcel."""
    if category == "books":
        return _named(name, _BOOKS) or "book"
    found = _named(name, _OTHERS) or _OF_SHELF.get(category) or _named(category.replace("-", " "), _OTHERS)
    if found:
        return found
    letter = next((each for each in name.upper() if each.isascii() and each.isalnum()), None)
    return f"letter-{letter}" if letter else "parcel"


def picture_path(sku: str, name: str, category: str) -> str:
    """Return where the picture of a product is. It changes with the drawing, and a browser may keep what it has."""
    return f"/pictures/{drawing_of(name, category)}/{sku}.svg?v={_VERSION}"


def drawing_path(drawing: str) -> str:
    """Return where a drawing is that belongs to no product; its name chooses the colours."""
    return f"/pictures/{drawing}/{drawing.upper()}.svg?v={_VERSION}"


@lru_cache(maxsize=2048)
def picture(sku: str, drawing: str = "") -> str:
    """Return the picture of a product as SVG text, 320 by 320 units; less than 2 KB.

    Args:
        sku: Its number. Chooses the colours, and without `drawing` also what is drawn.
        drawing: As `drawing_of` names it. What is not known is shown as a letter.
    """
    chance = hashlib.blake2s(sku.encode(), digest_size=4).digest()
    ground, shadow, *own = _PALETTES[chance[0] % len(_PALETTES)]
    colours = {**_FIXED, **dict(zip("abcd", own, strict=True))}
    name = drawing or _OF_PREFIX.get(sku[:3], f"letter-{sku[0]}")
    shape = _drawn(_DRAWINGS[name], colours) if name in _DRAWINGS else _letter(name[-1], colours)
    if not drawing:
        # By number alone, neighbours show the same thing: a spot of its own tells them apart.
        x, y = 30 + chance[1], 24 + chance[2] % 64
        shape = f'<circle cx="{x}" cy="{y}" r="11" fill="{shadow}"/>{shape}'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 320">'
        f'<path fill="{ground}" d="M0 0h320v320H0z"/>'
        f'<ellipse cx="160" cy="266" rx="112" ry="13" fill="{shadow}"/>{shape}</svg>'
    )


async def pictures(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve `…/DRAWING/SKU.svg` and `…/SKU.svg`: an ASGI application to mount under `/pictures`. All else is 404."""
    del receive
    if scope["type"] != "http":
        return
    found = _PATH.fullmatch(scope["path"]) if scope["method"] in {"GET", "HEAD"} else None
    if found is not None and found[1] and found[1] not in _DRAWINGS and not found[1].startswith("letter-"):
        found = None
    body = picture(found[2], found[1] or "").encode() if found is not None else b""
    tag = f'"{hashlib.blake2s(body, digest_size=8).hexdigest()}"'.encode()
    known = found is not None and (b"if-none-match", tag) in scope.get("headers", ())
    sure = scope.get("query_string", b"") == f"v={_VERSION}".encode()
    headers = [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"default-src 'none'")]
    if found is not None:
        keep = b"public, max-age=31536000, immutable" if sure else b"public, max-age=3600"
        headers += [(b"content-type", b"image/svg+xml"), (b"etag", tag), (b"cache-control", keep)]
    if not known:
        headers.append((b"content-length", str(len(body)).encode()))
    status = 404 if found is None else 304 if known else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if known or scope["method"] == "HEAD" else body})


def _named(text: str, known: Mapping[str, str]) -> str | None:
    """Return the drawing that the words ask for: two words before one, then the last before the first."""
    words = [re.sub(r"(?<=[hsx])es$|(?<!s)s$", "", word) for word in _WORD.findall(text.lower())]
    whole = _WORD.findall(text.lower())
    for size in (2, 1):
        for start in range(len(words) - size, -1, -1):
            for each in (whole, words):
                if (found := known.get(" ".join(each[start : start + size]))) is not None:
                    return found
    return None


def _drawn(drawing: _Drawing, colours: Mapping[str, str]) -> str:
    shapes = "".join(_shape(colours[colour], shape) for colour, shape in drawing.lines)
    return f'<g transform="rotate({drawing.turn} 160 160)">{shapes}</g>' if drawing.turn else shapes


def _shape(colour: str, shape: str) -> str:
    kind, *rest = shape.split(" ")
    if kind == "r":
        x, y, width, height, *round_ = rest
        corner = f' rx="{round_[0]}"' if round_ else ""
        return f'<rect x="{x}" y="{y}" width="{width}" height="{height}"{corner} fill="{colour}"/>'
    if kind == "o":
        return f'<circle cx="{rest[0]}" cy="{rest[1]}" r="{rest[2]}" fill="{colour}"/>'
    if kind == "e":
        return f'<ellipse cx="{rest[0]}" cy="{rest[1]}" rx="{rest[2]}" ry="{rest[3]}" fill="{colour}"/>'
    if kind.startswith("~"):
        return (
            f'<path d="{" ".join(rest)}" fill="none" stroke="{colour}" stroke-width="{kind[1:]}"'
            ' stroke-linecap="round" stroke-linejoin="round"/>'
        )
    return f'<path fill="{colour}" d="{shape}"/>'


def _letter(letter: str, colours: Mapping[str, str]) -> str:
    """A parcel with the letter on it."""
    return (
        f'<rect x="64" y="84" width="192" height="176" rx="16" fill="{colours["a"]}"/>'
        f'<path fill="{colours["b"]}" d="M64 118v-18q0-16 16-16h160q16 0 16 16v18z"/>'
        f'<text x="160" y="226" text-anchor="middle" font-family="system-ui,sans-serif" font-size="108"'
        f' font-weight="700" fill="{colours["w"]}">{letter}</text>'
    )
