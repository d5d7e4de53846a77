"""The words of a text, as people type them and as both indexes have them.

Not for other services: what they fold, they fold for an index of their own.
"""

import re
import unicodedata
from typing import Final

__all__ = ["MAX_WORDS", "folded", "folded_words", "words_of"]

MAX_WORDS: Final = 8
MAX_CHARS: Final = 101
"""Characters of a word that are kept; what is typed has 100 at most. PostgreSQL takes 2,046 bytes."""
_WORD: Final = re.compile(r"[^\W_]+")
_ALIKE: Final = str.maketrans({"\u00b5": "\u03bc", "\u017f": "s", "\u03c2": "\u03c3"})
"""Forms of a letter that lower() leaves: the micro sign, the long s, the sigma that ends a word."""


def words_of(text: str) -> list[str]:
    """Return the words in a text: runs of letters and digits, at most eight."""
    return _WORD.findall(text)[:MAX_WORDS]


def folded(text: str) -> str:
    """Return a text in lower case, its Latin letters without accents: as FTS5 does it (`remove_diacritics 2`)."""
    return "".join(map(_plain, unicodedata.normalize("NFC", text.lower().translate(_ALIKE))))


def folded_words(text: str) -> list[str]:
    """Return the words of a text in their order, folded, 101 characters at most."""
    return [word[:MAX_CHARS] for word in _WORD.findall(folded(text))]


def _plain(letter: str) -> str:
    base = unicodedata.normalize("NFD", letter)[0]
    if unicodedata.combining(base):
        return ""
    return base if base.isascii() else letter
