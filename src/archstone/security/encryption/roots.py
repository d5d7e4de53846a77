"""Root keys of one's own, from a file or the environment, where no KMS keeps them.

    roots = RootKeys.from_file(data / "encryption.json")        # mode 0600, made at the first start
    roots = RootKeys.from_environment("ARCHSTONE_ROOT_KEYS")    # base64, newest first, commas between

They wrap the data keys (`DataKeys`), which may then lie in the database. What this protects: a stolen database, a
backup of it, a disk without the key file. What it does not: whoever reads the file, or the memory of a process.

A file that is lost takes everything with it that was sealed. Keep a copy apart from the backups of the data.
"""

import base64
import binascii
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

from archstone import disk, world
from archstone.security.encryption.errors import RootKeyError
from archstone.security.encryption.ring import KEY_BYTES, SealRing
from archstone.security.private_files import PRIVATE, taken

__all__ = ["RootKeys"]


class RootKeys:
    """A `KeyService` in this process: the newest root key wraps, all of them unwrap."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take the keys, newest first, 32 bytes each."""
        self.ring = SealRing(keys)

    @classmethod
    def generate(cls) -> Self:
        """Return one new root key, kept nowhere: for tests."""
        return cls([world.secret_bytes(KEY_BYTES)])

    @classmethod
    def from_file(cls, path: Path, *, make: bool = True) -> Self:
        """Return the keys of a file; make it, durably, if there is none. Two processes that begin together agree.

        Args:
            path: Of the file.
            make: False: it must be there, since there are data keys already that lie under it.

        Raises:
            RootKeyError: It is missing, its mode lets others in, it is a link, cannot be read, or holds no keys. It is
                left alone.
        """
        try:
            keys = _read(path)
            if keys is None and not make:
                raise RootKeyError(str(path), "there is no such file: restore it from its backup")
            if keys is None:
                _write(path, [world.secret_bytes(KEY_BYTES)], replace=False)
                keys = _read(path)
        except OSError as error:
            raise RootKeyError(str(path), error.strerror or str(error)) from error
        if keys is None:
            raise RootKeyError(str(path), "the file vanished while being made")
        return cls(keys)

    @classmethod
    def rotate_file(cls, path: Path) -> Self:
        """Put a new key in front of those of the file and return all: older ones stay, for what they have wrapped.

        Every process reads the file anew (a restart) before one of them wraps with the new key; then
        `DataKeys.rewrap` moves the data keys over, and the old root key can be taken out of the file.
        """
        cls.from_file(path)
        try:
            keys = [world.secret_bytes(KEY_BYTES), *(_read(path) or ())]
            _write(path, keys, replace=True)
        except OSError as error:
            raise RootKeyError(str(path), error.strerror or str(error)) from error
        return cls(keys)

    @classmethod
    def from_environment(cls, variable: str = "ARCHSTONE_ROOT_KEYS") -> Self:
        """Return the keys of an environment variable: base64, newest first, commas between.

        Raises:
            RootKeyError: It is not set, or holds no keys.
        """
        text = os.environ.get(variable)
        if not text:
            raise RootKeyError(variable, "the environment variable is not set")
        return cls(_decoded(variable, text.split(",")))

    async def wrap(self, key: bytes, *, context: str) -> bytes:
        """Return `key` sealed under the newest root key."""
        return self.ring.seal(key, context=context)

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        """Return the key that was wrapped for the same context.

        Raises:
            UnknownSealKeyError: Its root key is not here.
            BrokenSealError: It was changed, or wrapped for another context.
        """
        return self.ring.open(wrapped, context=context)

    def stale(self, wrapped: bytes) -> bool:
        """Return whether an older root key has wrapped it."""
        return self.ring.stale(wrapped)


def _decoded(where: str, texts: Sequence[Any]) -> list[bytes]:
    try:
        keys = [base64.b64decode(text, validate=True) for text in texts]
    except (binascii.Error, ValueError, TypeError):
        # Without its cause, which may quote the text.
        raise RootKeyError(where, "what it holds are no keys in base64") from None
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise RootKeyError(where, f"a key must have {KEY_BYTES} bytes, and there must be one")
    return keys


def _read(path: Path) -> list[bytes] | None:
    text = taken(path, _insecure)
    if text is None:
        return None
    try:
        encoded = cast("dict[str, Any]", json.loads(text))["keys"]
    except (ValueError, KeyError, TypeError):
        raise RootKeyError(str(path), "the file holds no keys") from None
    return _decoded(str(path), encoded)


def _insecure(path: str, mode: int) -> RootKeyError:
    return RootKeyError(path, f"mode {mode:04o} lets others in, at most 0600 is accepted: chmod 600")


def _write(path: Path, keys: Sequence[bytes], *, replace: bool) -> None:
    text = json.dumps({"keys": [base64.b64encode(key).decode("ascii") for key in keys]})
    disk.put(path, text.encode(), mode=PRIVATE, replace=replace)
