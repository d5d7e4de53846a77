"""Codes on paper for whoever has lost the second factor: shown once, stored as hashes, each good for one use.

    codes = BackupCodes(passwords) fresh = await codes.make()                     # show fresh.texts once, store
    fresh.rows slot = codes.slot_of(typed)                    # which row it could be if await codes.fits(row.hash,
    typed): ...      # then: DELETE ... WHERE slot = :slot AND hash = :hash, one row or refused

A code is twelve letters and digits in three groups, such as `KQ3F-9XTM-B2WD`, without those that look alike. The first
one names the code among its owner's ten (the *slot*), the other eleven are 55 bits of chance.

They are hashed as passwords are, with argon2id and a salt each: 55 bits are too few for a quick hash, which whoever has
stolen the database would try through in days. The slot lets a try cost one slow hash instead of ten, and one for an
unknown slot costs the same. Source: NIST SP 800-63B-4, 3.1.2 (look-up secrets); OWASP ASVS 5.0, 6.5.2 (password hashing
below 112 bits).
"""

import re
from typing import Final, NamedTuple

from archstone import world
from archstone.errors import ConfigError
from archstone.security.passwords import Passwords

__all__ = ["BackupCodes", "FreshCodes", "StoredCode"]

_LETTERS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Thirty-two, five bits each, without 0, 1, I and O."""
_CHANCE: Final = 11
_FORM: Final = re.compile(f"[{_LETTERS}]{{{_CHANCE + 1}}}")
_BLANKS: Final = re.compile(r"[\s-]+")


class StoredCode(NamedTuple):
    """What is kept of a code."""

    slot: str
    """One letter or digit, different for each code of an owner."""
    hash: str
    """Of argon2id."""


class FreshCodes(NamedTuple):
    """Codes that have just been made."""

    texts: tuple[str, ...]
    """To be shown once, and kept nowhere."""
    rows: tuple[StoredCode, ...]


class BackupCodes:
    """Makes and checks backup codes."""

    def __init__(self, passwords: Passwords, *, count: int = 10) -> None:
        """Say who hashes, and how many codes an owner gets (1 to 32)."""
        if not 1 <= count <= len(_LETTERS):
            raise ConfigError(f"BackupCodes: count={count} must be 1 to {len(_LETTERS)}")
        self._passwords = passwords
        self._count = count

    async def make(self) -> FreshCodes:
        """Return new codes; whoever stores them deletes the old ones in the same transaction.

        Raises:
            PasswordsBusyError: Too many wait to be hashed.
        """
        slots = world.random().sample(_LETTERS, self._count)
        plain = [slot + "".join(_LETTERS[each % 32] for each in world.secret_bytes(_CHANCE)) for slot in slots]
        # One after another: ten at once would fill the line of everybody who signs in.
        rows = [StoredCode(code[0], await self._passwords.hash(code)) for code in plain]
        return FreshCodes(tuple(f"{code[:4]}-{code[4:8]}-{code[8:]}" for code in plain), tuple(rows))

    def slot_of(self, typed: str) -> str:
        """Return the slot of what was typed; empty if it has not the form of a code."""
        plain = _plain(typed)
        return plain[0] if _FORM.fullmatch(plain) else ""

    async def fits(self, stored: str | None, typed: str) -> bool:
        """Return whether what was typed is the code that was hashed as `stored`.

        Args:
            stored: The hash in the slot of what was typed. None: there is none; the same work is done in vain.
            typed: What was typed; case, blanks and dashes do not count.

        Raises:
            PasswordsBusyError: Too many wait to be hashed.
        """
        return (await self._passwords.verify(stored, _plain(typed))).right


def _plain(typed: str) -> str:
    return _BLANKS.sub("", typed).upper()
