"""Signing keys, and the file that keeps them from one start to the next."""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast

from archstone import world
from archstone.security.errors import InsecureKeyFileError, KeyFileError

__all__ = ["KEY_BYTES", "KeyFile", "SigningKeys"]

KEY_BYTES: Final = 32
"""Bytes of a key: as many as HMAC-SHA-256 can use."""
_ID_DIGITS: Final = 16
_GROUP_AND_OTHERS: Final = 0o077


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
        try:
            found = self._read()
            if found is None:
                self._write(SigningKeys.generate(), replace=False)
                found = self._read()
        except OSError as error:
            raise KeyFileError(str(self.path), error.strerror or str(error)) from error
        if found is None:
            raise KeyFileError(str(self.path), "it vanished while being made")
        return found

    def rotate(self, *, keep: int = 1) -> SigningKeys:
        """Put a new key in front, keep the `keep` newest old ones for what they have signed, and return them all."""
        keys = self.load().rotated(keep=keep)
        try:
            self._write(keys, replace=True)
        except OSError as error:
            raise KeyFileError(str(self.path), error.strerror or str(error)) from error
        return keys

    def _read(self) -> SigningKeys | None:
        try:
            # No link is followed: a link could be turned to a file that somebody else owns.
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & _GROUP_AND_OTHERS:
                raise InsecureKeyFileError(str(self.path), mode)
            return self._parsed(file.read())

    def _parsed(self, text: bytes) -> SigningKeys:
        try:
            encoded = cast("dict[str, Any]", json.loads(text))["keys"]
            keys = tuple(base64.b64decode(key, validate=True) for key in encoded)
        except (ValueError, KeyError, TypeError) as error:
            raise KeyFileError(str(self.path), "what it holds are no keys") from error
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise KeyFileError(str(self.path), f"a key must have {KEY_BYTES} bytes, and there must be one")
        return SigningKeys(keys)

    def _write(self, keys: SigningKeys, *, replace: bool) -> None:
        """Write aside, fsync, then put in place in one step: no reader ever meets half a file."""
        text = json.dumps({"keys": [base64.b64encode(key).decode("ascii") for key in keys.keys]})
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}.{world.new_id()}")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                aside.replace(self.path)
            else:
                _link(aside, self.path)
        finally:
            aside.unlink(missing_ok=True)
        _sync_folder(self.path.parent)


def _link(aside: Path, path: Path) -> None:
    """Give the file its name unless another process was first: a link, unlike a rename, does not overwrite."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
