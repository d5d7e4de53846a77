"""A key from a password, with the salt and the parameters kept: for what one person seals for themselves.

    kept = Argon2()                                     # a new salt
    ring = await kept.ring("correct horse battery")
    store(kept.text(), ring.seal(b"...", context=f"export {kept.text()}"))

    ring = await parse(text).ring(password)             # later, elsewhere

The text has the usual form, `$argon2id$v=19$m=65536,t=3,p=4$SALT` or `$scrypt$ln=17,r=8,p=1$SALT`. It is no secret. Put
it into the context, as above, and changed parameters do not open. What is parsed is bounded on both sides: a text that
somebody has changed can neither make the work so small that guessing is easy, nor so large that it stops the process.

When not: for checking passwords (`Passwords` keeps a hash that opens nothing), and where a key can be had that is all
chance. A value sealed so is as safe as the password, and for whoever has it, guessing has no limit but the work.

Source: RFC 9106, section 4, second choice (argon2id, 64 MiB); RFC 7914 (scrypt).
"""

import asyncio
import base64
import binascii
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt as ScryptOf

from archstone import world
from archstone.errors import InvalidError
from archstone.resilience import check
from archstone.security.encryption.ring import KEY_BYTES, SealRing

__all__ = ["Argon2", "DerivationTextError", "PasswordKey", "Scrypt", "parse"]

_SALT_BYTES: Final = 16
_ARGON2: Final = re.compile(r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{22,86})", re.ASCII)
_SCRYPT: Final = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{22,86})", re.ASCII)


class DerivationTextError(InvalidError, code="security.derivation", status=400):
    """A text does not say how a key is made from a password, or says so with parameters that are refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"key from a password: {self.reason}; no key was made, take the text that was stored with the value"


def _new_salt() -> bytes:
    return world.secret_bytes(_SALT_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2:
    """A key by argon2id."""

    memory_kib: int = 65_536
    """In [19_456, 1_048_576]."""
    passes: int = 3
    """In [1, 20]."""
    lanes: int = 4
    """In [1, 16]."""
    salt: bytes = field(default_factory=_new_salt)
    """16 to 64 bytes, new for each password."""

    def __post_init__(self) -> None:
        check(
            self,
            memory_kib=(19_456 <= self.memory_kib <= 1_048_576, "in [19456, 1048576]"),
            passes=(1 <= self.passes <= 20, "in [1, 20]"),
            lanes=(1 <= self.lanes <= 16, "in [1, 16]"),
            salt=(16 <= len(self.salt) <= 64, "of 16 to 64 bytes"),
        )

    def text(self) -> str:
        """Return the parameters and the salt, to be stored."""
        return f"$argon2id$v=19$m={self.memory_kib},t={self.passes},p={self.lanes}${_base64(self.salt)}"

    def derive(self, password: str) -> bytes:
        """Return the key, 32 bytes. It takes about a tenth of a second, on the thread that asks."""
        kdf = Argon2id(
            salt=self.salt, length=KEY_BYTES, iterations=self.passes, lanes=self.lanes, memory_cost=self.memory_kib
        )
        return kdf.derive(_normal(password))

    async def ring(self, password: str) -> SealRing:
        """Return a ring with the key, made in a thread."""
        return await _ring(self.derive, password)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrypt:
    """A key by scrypt."""

    log_n: int = 17
    """Binary logarithm of the work. In [15, 20]; 128 * r * 2**log_n bytes of memory."""
    r: int = 8
    """In [8, 16]."""
    p: int = 1
    """In [1, 4]."""
    salt: bytes = field(default_factory=_new_salt)
    """16 to 64 bytes, new for each password."""

    def __post_init__(self) -> None:
        check(
            self,
            log_n=(15 <= self.log_n <= 20, "in [15, 20]"),
            r=(8 <= self.r <= 16, "in [8, 16]"),
            p=(1 <= self.p <= 4, "in [1, 4]"),
            salt=(16 <= len(self.salt) <= 64, "of 16 to 64 bytes"),
        )

    def text(self) -> str:
        """Return the parameters and the salt, to be stored."""
        return f"$scrypt$ln={self.log_n},r={self.r},p={self.p}${_base64(self.salt)}"

    def derive(self, password: str) -> bytes:
        """Return the key, 32 bytes. It takes some tenths of a second, on the thread that asks."""
        kdf = ScryptOf(salt=self.salt, length=KEY_BYTES, n=2**self.log_n, r=self.r, p=self.p)
        return kdf.derive(_normal(password))

    async def ring(self, password: str) -> SealRing:
        """Return a ring with the key, made in a thread."""
        return await _ring(self.derive, password)


PasswordKey = Argon2 | Scrypt
"""How a key is made from a password."""


def parse(text: str) -> PasswordKey:
    """Return how a key was made.

    Raises:
        DerivationTextError: The text is none, or has parameters that are refused.
    """
    try:
        if found := _ARGON2.fullmatch(text):
            memory_kib, passes, lanes = map(int, found.groups()[:3])
            return Argon2(memory_kib=memory_kib, passes=passes, lanes=lanes, salt=_salt(found[4]))
        if found := _SCRYPT.fullmatch(text):
            log_n, r, p = map(int, found.groups()[:3])
            return Scrypt(log_n=log_n, r=r, p=p, salt=_salt(found[4]))
    except ValueError as error:
        raise DerivationTextError(str(error)) from error
    raise DerivationTextError("the text says no known method with its parameters and salt")


async def _ring(derive: Callable[[str], bytes], password: str) -> SealRing:
    return SealRing([await asyncio.to_thread(derive, password)])


def _salt(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("its salt is not base64") from error


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii").rstrip("=")


def _normal(password: str) -> bytes:
    """Return the bytes: one accent typed in two ways is one password (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
