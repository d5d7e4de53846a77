"""Which new passwords are refused: those that would be guessed first. What they are made of is not prescribed.

    policy = PasswordPolicy(words=("archstone", "shop"))
    flaw = policy.flaw(password, about=(user.email, user.name))     # or `await passwords.flaw(...)`, off the loop

Looked at: the length; passwords on the lists of the package zxcvbn, the most common of those stolen; words of this
place and of this person; and how many guesses a clever guesser needs, as zxcvbn estimates it. No rules about digits and
signs, no expiry: both make passwords worse.

Source: NIST SP 800-63B-4, 3.1.1.2; OWASP ASVS 5.0, 6.2 (length, lists, context words, no composition); Wheeler 2016,
"zxcvbn: Low-Budget Password Strength Estimation" (USENIX Security).
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from archstone.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Flaw", "PasswordPolicy"]

FlawKind = Literal["short", "long", "repeats", "common", "context", "guessable", "breached"]

_ESTIMATED: Final = 64
"""Characters that are estimated: the time grows with the square of their number, and what is longer is not guessed."""
_DIFFERENT: Final = 4
_WORD: Final = re.compile(r"[^\W_]{3,}")
_WORDS_LIMIT: Final = 50


class Flaw(NamedTuple):
    """Why a password is refused."""

    kind: FlawKind
    text: str
    """In words that go on after `This password`; it does not hold the password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordPolicy:
    """What a new password must be."""

    min_characters: int = 8
    """Characters at least. At least 8; 15 where nobody has a second factor (NIST SP 800-63B-4)."""
    max_characters: int = 200
    """Characters at most. At least 64, so that phrases and generated passwords fit."""
    min_guesses: float = 1e8
    """Guesses that it must withstand, as zxcvbn estimates them. Above 0; 1e8 is its score 3."""
    words: tuple[str, ...] = ()
    """Words of this place that make a password easy to guess: the names of product, company and host."""

    def __post_init__(self) -> None:
        faults = [
            *([] if self.min_characters >= 8 else [f"min_characters={self.min_characters} must be at least 8"]),
            *([] if self.max_characters >= 64 else [f"max_characters={self.max_characters} must be at least 64"]),
            *([] if self.min_guesses > 0 else [f"min_guesses={self.min_guesses} must be above 0"]),
        ]
        if faults:
            raise ConfigError("PasswordPolicy: " + "; ".join(faults))

    def flaw(self, password: str, *, about: Iterable[str] = ()) -> Flaw | None:
        """Return why a new password is refused. None: it is not.

        It computes for some milliseconds, at most some tens.

        Args:
            password: The new password.
            about: What is known of its owner: e-mail address, names.
        """
        plain = unicodedata.normalize("NFKC", password)
        if len(plain) < self.min_characters:
            return Flaw("short", f"has fewer than {self.min_characters} characters")
        if len(plain) > self.max_characters:
            return Flaw("long", f"has more than {self.max_characters} characters")
        low = plain.lower()
        if len(set(low)) < _DIFFERENT:
            return Flaw("repeats", "repeats a few characters")
        if _common(low):
            return Flaw("common", "is on every list of stolen passwords")
        whole = [each.lower() for each in (*self.words, *about) if each]
        texts = [*whole, *(text.partition("@")[0] for text in whole)]
        if low in texts:
            return Flaw("context", "is a name or an address that others know")
        words = _words(texts)
        if len(_without(low, words)) < _DIFFERENT:
            return Flaw("context", "is made of names or addresses that others know")
        if _guesses(plain[:_ESTIMATED], words) < self.min_guesses:
            return Flaw("guessable", "would be guessed soon: several words that do not belong together are better")
        return None


def _words(texts: Sequence[str]) -> list[str]:
    """Return the texts and the words in them, longest first, at most 50."""
    found = {*texts, *(word for text in texts for word in _WORD.findall(text))}
    return sorted(found, key=lambda word: (-len(word), word))[:_WORDS_LIMIT]


def _without(text: str, words: Sequence[str]) -> str:
    for word in words:
        if len(word) >= 3:
            text = text.replace(word, "")
    return text


def _common(low: str) -> bool:
    return low in cast("Mapping[str, object]", _matching().RANKED_DICTIONARIES["passwords"])


def _guesses(password: str, words: Sequence[str]) -> float:
    matching = _matching()
    from zxcvbn import scoring  # pyright: ignore[reportMissingTypeStubs] # noqa: PLC0415 - loaded with `matching`

    # A dictionary of our own: `zxcvbn()` puts the words into one that all calls share, where a call on another thread
    # would meet the words of a stranger.
    known: dict[str, Any] = {**matching.RANKED_DICTIONARIES, "user_inputs": matching.build_ranked_dict(list(words))}
    best: Any = scoring.most_guessable_match_sequence(password, matching.omnimatch(password, known))
    return float(best["guesses"])


def _matching() -> "ModuleType":
    """Return zxcvbn's lists and matchers: a few megabytes, loaded when the first password is judged."""
    try:
        from zxcvbn import matching  # pyright: ignore[reportMissingTypeStubs] # noqa: PLC0415 - as said
    except ImportError as error:  # pragma: no cover - the core is installed without it
        message = "archstone.security.PasswordPolicy needs zxcvbn: pip install 'archstone[security]'"
        raise ImportError(message, name="zxcvbn") from error
    return cast("ModuleType", matching)
