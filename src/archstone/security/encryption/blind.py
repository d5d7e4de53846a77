"""Find a sealed value by equality without opening any: a blind index.

    emails = BlindIndex(keys, "customers.email", normalise=folded)

    INSERT INTO customers (id, email, email_mark) ...        email_mark=emails.mark("Ann@example.com")
    SELECT ... WHERE email_mark IN (:new, :old)              emails.marks("ann@example.com")

A mark is an HMAC-SHA-256 of the value under a key of its own, cut to so many bits. Who has the database without the
key can tell which rows hold the same value, and nothing else; who has the key can try every likely value, so the key is
kept like those that seal. Do not index what has few values (yes and no, countries, years of birth): how often each
occurs tells which it is.

Fewer bits make more values share a mark: the index tells less and finds a few rows too many, which are told apart by
opening them. With n values and b bits, about n / 2**b others share the mark of one.

Source: the construction of CipherSweet's blind index (a keyed hash, cut), with HKDF for a key for each column.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from archstone.security.encryption.ring import KEY_BYTES

__all__ = ["BlindIndex", "digits", "folded"]

MIN_BITS: Final = 16
MAX_BITS: Final = 256


def folded(text: str) -> str:
    """Return a text without the differences of case, of width and of the ways to write an accent, and without edges."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def digits(text: str) -> str:
    """Return the digits of a text, and a plus in front of them: for telephone numbers, cards and the like."""
    plus = "+" if text.strip().startswith("+") else ""
    return plus + "".join(str(unicodedata.decimal(each)) for each in text if each.isdecimal())


class BlindIndex:
    """Marks the values of one column, so that equal ones are found."""

    def __init__(
        self,
        keys: Sequence[bytes],
        column: str,
        *,
        bits: int = MAX_BITS,
        normalise: Callable[[str], str] = folded,
    ) -> None:
        """Take the keys.

        Args:
            keys: Newest first, at least one, 32 bytes each; not those of a `SealRing`. Never changed without marking
                every row again: a lookup asks for the marks of all of them meanwhile.
            column: What is marked, such as `customers.email`: two columns have different marks for one value.
            bits: Length of a mark, a multiple of 8 in [16, 256].
            normalise: Makes what is to be found as one value the same text.

        Raises:
            ValueError: A key has another length, there is none, or `bits` is out of range.
        """
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"blind index {column}: at least one key of {KEY_BYTES} bytes is needed")
        if bits % 8 or not MIN_BITS <= bits <= MAX_BITS:
            raise ValueError(f"blind index {column}: bits={bits} must be a multiple of 8 in [{MIN_BITS}, {MAX_BITS}]")
        info = b"archstone blind index " + column.encode()
        self._keys = tuple(HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(key) for key in keys)
        self._bytes = bits // 8
        self._normalise = normalise

    def mark(self, value: str) -> bytes:
        """Return the mark to store beside a sealed value: `bits` / 8 bytes."""
        return self._mark(self._keys[0], value)

    def marks(self, value: str) -> tuple[bytes, ...]:
        """Return the marks to look for, newest key first: one for each key."""
        return tuple(self._mark(key, value) for key in self._keys)

    def _mark(self, key: bytes, value: str) -> bytes:
        text = self._normalise(value).encode("utf-8", "surrogatepass")
        return hmac.digest(key, text, hashlib.sha256)[: self._bytes]
