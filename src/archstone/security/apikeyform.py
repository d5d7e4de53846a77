"""How an API key looks: a prefix, 38 letters and digits of chance, and a checksum of six."""

import zlib
from typing import Final

from archstone import world

__all__ = ["new_key", "well_formed"]

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHANCE: Final = 38
_CHECKSUM: Final = 6


def well_formed(text: str, *, prefix: str = "ask") -> bool:
    """Return whether a text has the form of a key and its checksum: a scanner knows a real one so, without a secret."""
    start = len(prefix) + 1
    if len(text) != start + _CHANCE + _CHECKSUM or text[:start] != f"{prefix}_":
        return False
    return _checksum(text[:-_CHECKSUM]) == text[-_CHECKSUM:]


def new_key(prefix: str) -> str:
    """Return a new key: nobody can guess it."""
    body = f"{prefix}_{_base62(int.from_bytes(world.secret_bytes(32), 'big'), _CHANCE)}"
    return body + _checksum(body)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("utf-8", "surrogatepass")), _CHECKSUM)


def _base62(number: int, digits: int) -> str:
    """Return the last `digits` digits of a number, to the base of 62."""
    found: list[str] = []
    for _ in range(digits):
        number, digit = divmod(number, 62)
        found.append(_ALPHABET[digit])
    return "".join(reversed(found))
