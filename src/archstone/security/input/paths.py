"""Names and paths that strangers choose, kept inside a folder.

    file = safe_join(uploads, user_id, name)      # InputError for "../../etc/passwd"
    shown = safe_name(part.filename)              # "invoice.pdf" of "C:/temp/../invoice.pdf"

Promise: what `safe_join` returns is inside its folder, links on the way followed; nothing is made or opened. Between
the look and the use a link can be put in place by who may write there: keep such folders your own.
"""

import re
import unicodedata
from pathlib import Path
from typing import Final

from archstone.security.input.errors import InputError

__all__ = ["safe_join", "safe_name"]

_MOST_BYTES: Final = 200
_UNSAFE: Final = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
"""Devices on Windows, whatever stands behind the dot."""


def safe_join(folder: Path, *parts: str) -> Path:
    """Return the path of something inside `folder`.

    Args:
        folder: Whose inside it is; it need not be there.
        parts: Names, or relative paths with `/`, one below the other.

    Raises:
        InputError: A part is empty, absolute, leads upwards or out of the folder, or holds what no name holds.
    """
    for part in parts:
        names = part.split("/")
        wrong = any(name in {"", ".", ".."} or _RESERVED.fullmatch(name) for name in names)
        if wrong or "\\" in part or _UNSAFE.search(part) or not _encodable(part):
            raise InputError("path", "it leads out of its folder, or holds what no name may hold")
    root = folder.resolve()
    found = root.joinpath(*parts).resolve()
    if not parts or found == root or not found.is_relative_to(root):
        raise InputError("path", "it leads out of its folder")
    return found


def safe_name(offered: str | None, *, otherwise: str = "file") -> str:
    """Return a name to show and to keep, made of what somebody called a file: without path, controls and tricks.

    Letters of all languages stay. Directions that would show `exe.fdp` as `pdf.exe` go, as do leading dots, and more
    than 200 bytes; the ending is kept.
    """
    text = unicodedata.normalize("NFC", offered or "").replace("\\", "/").rpartition("/")[2]
    text = "".join(each for each in text if unicodedata.category(each) not in _UNSEEN)
    text = _UNSAFE.sub("_", text).strip(" .")
    if not text:
        return otherwise
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    stem, dot, ending = text.rpartition(".")
    if not dot or len(ending.encode()) > 20:
        stem, dot, ending = text, "", ""
    room = _MOST_BYTES - len(f"{dot}{ending}".encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip() + dot + ending


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
