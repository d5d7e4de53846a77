"""Texts of others made fit: HTML to plain text, titles to names of categories, their numbers to SKUs."""

import hashlib
import re
import unicodedata
from html.parser import HTMLParser
from typing import Final

from archstone.systems.shop.unseen import without_unseen

__all__ = ["category_id", "fitting_sku", "one_line", "plain_text"]

_SKU: Final = re.compile(r"[A-Z0-9][A-Z0-9-]{2,19}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_MARKUP: Final = re.compile(r"<[a-zA-Z/!?]|&[#\w]+;")
_BLOCKS: Final = frozenset(
    ("address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "footer", "h1", "h2", "h3", "h4", "h5", "h6",
     "header", "hr", "li", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul")
)  # fmt: skip
_UNSEEN: Final = frozenset({"script", "style", "template", "head", "title"})
_HASH_DIGITS: Final = 8


class _Stripper(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def plain_text(text: str) -> str:
    """Return text without markup: tags gone, entities resolved, a line per paragraph, no control characters.

    Nor what nobody sees, such as a turn of the direction (see `unseen.py`). Scripts and styles go with what is in
    them. What only looks like a tag, as in `a < b`, stays.
    """
    if _MARKUP.search(text):
        stripper = _Stripper()
        stripper.feed(text)
        stripper.close()
        text = "".join(stripper.parts)
    lines = (" ".join(line.split()) for line in without_unseen(_CONTROL.sub("", text)).splitlines())
    return "\n".join(line for line in lines if line)


def one_line(text: str) -> str:
    """Return text without markup on one line."""
    return " ".join(plain_text(text).split())


def category_id(title: str) -> str:
    """Return the name of a category in addresses: lower case, digits, hyphens, at most 40; the same for one title."""
    ascii_only = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")
    if len(slug) >= 1 and len(slug) <= 40 and len(slug) * 2 >= len(title.strip()):
        return slug
    # Cut, or written in other letters: the mark keeps two such titles apart.
    return f"{slug[:31].strip('-') or 'category'}-{_mark(title)}".lower()


def fitting_sku(identity: str, *, prefix: str = "") -> str:
    """Return the SKU of a number of others: itself if it is one, else one made from it, always the same.

    Args:
        identity: Their SKU or id; not empty.
        prefix: Put before it, with a hyphen. Empty: none.
    """
    wanted = f"{prefix}-{identity}".strip("-").upper() if prefix else identity.upper()
    if _SKU.fullmatch(wanted):
        return wanted
    stem = re.sub(r"[^A-Z0-9]+", "-", wanted).strip("-")[:11].strip("-")
    return f"{stem or 'ID'}-{_mark(f'{prefix} {identity}').upper()}"


def _mark(text: str) -> str:
    return hashlib.blake2s(text.encode(errors="replace"), digest_size=_HASH_DIGITS // 2).hexdigest()
