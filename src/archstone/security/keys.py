"""Keys that the processes of one system share, and the file that keeps them from one start to the next.

For what is signed and verified by the same system (HMAC-SHA-256). Where others verify, sign with a `KeyRing`.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast

from archstone import world
from archstone.security.errors import KeyFileError
from archstone.security.private_files import read_private, write_private

__all__ = ["KEY_BYTES", "KeyFile", "SigningKeys", "key_id"]

KEY_BYTES: Final = 32
"""Bytes of a key: as many as HMAC-SHA-256 can use."""
_ID_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys of one system: the newest signs, all of them verify."""

    keys: tuple[bytes, ...] = field(repr=False)
    """Newest first, at least one."""

    @classmethod
    def generate(cls) -> Self:
        """Return one new key, kept nowhere: for tests and for tools."""
        return cls((world.secret_bytes(KEY_BYTES),))

    def by_id(self) -> Mapping[str, bytes]:
        """Return the keys by their ids, the newest first."""
        return {key_id(key): key for key in self.keys}

    def rotated(self, *, keep: int = 1) -> Self:
        """Return the keys with a new one in front and the `keep` newest of the old ones behind it."""
        return type(self)((world.secret_bytes(KEY_BYTES), *self.keys[:keep]))


def key_id(key: bytes) -> str:
    """Return the public name of a key: it follows from the key and does not tell it."""
    return hashlib.sha256(b"archstone key id" + key).hexdigest()[:_ID_DIGITS]


class KeyFile:
    """Signing keys in a file with mode 0600, made at the first start."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> SigningKeys:
        """Return the keys; make the file, durably, if there is none.

        Two processes that start at the same time end up with the same keys.

        Raises:
            InsecureKeyFileError: The mode of the file lets others in.
            KeyFileError: It cannot be read, or what it holds are no keys.
        """
        found = read_private(self.path)
        if found is None:
            write_private(self.path, _written(SigningKeys.generate()), replace=False)
            found = read_private(self.path)
        if found is None:
            raise KeyFileError(str(self.path), "it vanished while being made")
        return self._parsed(found)

    def rotate(self, *, keep: int = 1) -> SigningKeys:
        """Put a new key in front, keep the `keep` newest old ones for what they have signed, and return them all."""
        keys = self.load().rotated(keep=keep)
        write_private(self.path, _written(keys))
        return keys

    def _parsed(self, text: bytes) -> SigningKeys:
        try:
            encoded = cast("dict[str, Any]", json.loads(text))["keys"]
            keys = tuple(base64.b64decode(key, validate=True) for key in encoded)
        except (ValueError, KeyError, TypeError) as error:
            raise KeyFileError(str(self.path), "what it holds are no keys") from error
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise KeyFileError(str(self.path), f"a key must have {KEY_BYTES} bytes, and there must be one")
        return SigningKeys(keys)


def _written(keys: SigningKeys) -> bytes:
    return json.dumps({"keys": [base64.b64encode(key).decode("ascii") for key in keys.keys]}).encode()
