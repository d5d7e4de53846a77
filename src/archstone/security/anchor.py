"""Where an audit log's newest record is remembered apart from its database, so that its end cannot be cut off unseen.

`FileAnchor` keeps number and hash in a small file, sealed with a key. It helps against whoever can write to the
database and not to that folder. Against whoever can write to both, implement `Anchor` over something that they cannot
reach: a log on another machine, an object store with retention, a notary.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from archstone import disk
from archstone.errors import BackendError
from archstone.security.auditchain import Head
from archstone.security.private_files import PRIVATE

__all__ = ["Anchor", "AnchorError", "FileAnchor"]


class Anchor(Protocol):
    """Remembers the newest record of each log, by the log's name."""

    async def keep(self, log: str, head: Head) -> None:
        """Remember `head` durably in place of what was remembered of `log`."""
        ...

    async def kept(self, log: str) -> Head | None:
        """Return what is remembered of `log`. None: nothing."""
        ...


class AnchorError(BackendError, code="security.audit-anchor"):
    """What is remembered of an audit log cannot be read or was changed."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path = path
        self.what = what

    def __str__(self) -> str:
        return (
            f"audit anchor {self.path}: {self.what}; compare the log with another copy of its anchor, or with a backup,"
            " before you remove the file"
        )


class FileAnchor:
    """Anchors in a file with mode 0600, each sealed by an HMAC."""

    def __init__(self, path: Path, *, key: bytes = b"") -> None:
        """Name the file; it is made with the first anchor.

        Args:
            path: The file, outside the database.
            key: Of the seal. Empty: the file is as good as the rights to its folder.
        """
        self.path = path
        self._key = key

    async def keep(self, log: str, head: Head) -> None:
        """Remember `head`; see `Anchor.keep`."""
        kept = {**self._read(), log: (head.number, head.hash.hex(), self._seal(log, head))}
        try:
            disk.put(self.path, json.dumps(kept).encode(), mode=PRIVATE)
        except OSError as error:
            raise AnchorError(str(self.path), error.strerror or str(error)) from error

    async def kept(self, log: str) -> Head | None:
        """Return what is remembered of `log`; see `Anchor.kept`.

        Raises:
            AnchorError: The file cannot be read, or its seal does not hold.
        """
        found = self._read().get(log)
        if found is None:
            return None
        try:
            number, text, seal = found
            head = Head(int(cast("int", number)), bytes.fromhex(cast("str", text)))
            holds = hmac.compare_digest(str(seal), self._seal(log, head))
        except (ValueError, TypeError) as error:
            raise AnchorError(str(self.path), f"what it says of log {log!r} is no anchor") from error
        if not holds:
            raise AnchorError(str(self.path), f"the seal of log {log!r} does not hold: it was changed")
        return head

    def _seal(self, log: str, head: Head) -> str:
        text = json.dumps([log, head.number, head.hash.hex()])
        return hmac.digest(self._key, text.encode(), hashlib.sha256).hex()

    def _read(self) -> Mapping[str, tuple[object, ...]]:
        try:
            found: object = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise AnchorError(str(self.path), "it cannot be read") from error
        if not isinstance(found, dict):
            raise AnchorError(str(self.path), "it holds no anchors")
        return cast("dict[str, tuple[object, ...]]", found)
