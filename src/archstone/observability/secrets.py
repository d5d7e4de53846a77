"""What must never be written down: values under names that speak of a secret, and texts that look like one.

Every line that goes through `get_logger`, every message of an error in a log or a span, and every record of an audit
log passes here, by default. For programs with logging of their own:

    structlog.configure(processors=[..., redact_secrets, structlog.processors.JSONRenderer()])
    handler.addFilter(SecretsFilter())                    # the standard library's logging

Found: headers (`Authorization: Bearer …`), passwords in URLs, values of parameters, fields and JSON under a name that
speaks of a secret, JSON Web Tokens, tokens with a known prefix (ours, GitHub, GitLab, Slack, Stripe, AWS, Google),
private keys, password hashes, card numbers. Not found: a password in the middle of a sentence. So do not log what may
hold one.
"""

import logging
import re
from collections.abc import MutableMapping
from typing import Any, Final

__all__ = ["REDACTED", "SecretsFilter", "holds_card_number", "redact_secrets", "scrub", "speaks_of_a_secret"]

REDACTED: Final = "[redacted]"

_WORDS: Final = (
    "password", "passwd", "passphrase", "pwd", "secret", "token", "authorization", "cookie", "apikey", "credential",
    "privatekey", "signingkey", "accesskey", "sessionid", "cvv", "cvc", "cardnumber",
)  # fmt: skip
_WHOLE: Final = frozenset({"otp", "totp", "pin"})
"""Names that speak of one only by themselves: `not_paid` does not."""
_KNOWN_NAMES_LIMIT: Final = 10_000
_SHORTEST: Final = 8
"""Characters of a text in which something can be found."""
_LONGEST: Final = 100_000
"""Characters of a text that are looked at; the rest is cut off."""

_known: dict[str, bool] = {}


def speaks_of_a_secret(name: str) -> bool:
    """Whether a value under this name must not be written: `password`, `access_token`, `X-Api-Key`, and the like."""
    answer = _known.get(name)
    if answer is None:
        plain = name.lower().replace("_", "").replace("-", "")
        answer = plain in _WHOLE or any(word in plain for word in _WORDS)
        if len(_known) >= _KNOWN_NAMES_LIMIT:
            _known.clear()
        _known[name] = answer
    return answer


_NAME: Final = (
    r"[\w.-]{0,40}(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|signing[_-]?key|credential|cookie|session[_-]?id|cvv|cvc|card[_-]?number)[\w-]{0,20}"
)
_PREFIXES: Final = "rt_|ask_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|[rs]k_(?:live|test)_|AKIA|ASIA|AIza"
# Each alternative begins with what is rare in ordinary texts, so that looking costs little where there is nothing.
_PATTERN: Final = re.compile(
    "|".join(
        (
            # A header; `Authorization: anything` to the end of the line, since schemes are many.
            r"(?P<header>\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)(?P<hidden1>[^\r\n\"',}]+)",
            r"(?P<scheme>\b(?:bearer|basic)\s+)(?P<hidden2>[\w.~+/=-]{8,})",
            # scheme://user:password@host
            r"(?P<url>\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@?#\"']{0,200}:)(?P<hidden3>[^\s/@\"']{1,500})(?=@)",
            # name=value, name: value, "name": "value", name='value'
            rf"(?P<named>\b{_NAME}[\"']?\s{{0,3}}[=:]\s{{0,3}})(?P<hidden4>\"[^\"]*\"?|'[^']*'?|[^\s&;,\"'}})\]]+)",
            r"(?P<hidden5>\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*)",
            r"(?P<hidden6>-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z))",
            r"(?P<hidden7>\$(?:argon2(?:id|i|d)|scrypt|2[aby]|pbkdf2[\w-]*)\$[^\s\"']+)",
            rf"(?P<hidden8>\b(?:{_PREFIXES})[\w-]{{16,}})",
            r"(?P<card>(?<![\w.-])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\w-]))",
        )
    ),
    re.IGNORECASE,
)
# What a text has in small letters if an alternative fits: without the signs of any it need not be tried.
_SIGNS: Final = (
    "bearer", "basic", "eyj", "-----begin", "$", "rt_", "ask_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_",
    "glpat-", "xox", "k_live_", "k_test_", "akia", "asia", "aiza",
)  # fmt: skip
_NAMING: Final = (
    "authorization", "passw", "passphrase", "pwd", "secret", "token", "key", "credential", "cookie", "session", "cvv",
    "cvc", "card",
)  # fmt: skip
_DIGITS: Final = re.compile(r"\d(?:[ -]?\d){12}")
_HIDDEN: Final = tuple(f"hidden{number}" for number in range(1, 9))
_BEFORE: Final = ("header", "scheme", "url", "named")


def scrub(text: str) -> str:
    """Return `text` with what looks like a secret replaced. It costs little where there is nothing to be found."""
    if len(text) < _SHORTEST or (text.isalnum() and not _may_be_alone(text)):
        return text  # an id, a number, a word
    if not _may_hold(text):
        return text
    return _PATTERN.sub(_replaced, text[:_LONGEST])


def holds_card_number(number: int) -> bool:
    """Whether a number is one of a payment card: its length, its beginning and its check digit say so."""
    return number > 10**12 and _is_card(str(number))


def redact_secrets(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets out of a line: a processor for structlog."""
    del logger, method
    for name, value in event.items():
        if speaks_of_a_secret(name):
            event[name] = REDACTED
        elif isinstance(value, str):
            event[name] = scrub(value)
    return event


class SecretsFilter(logging.Filter):
    """Takes secrets out of records of the standard library's logging. Put it on handlers: those see every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message by one without secrets; a record is never held back."""
        try:
            record.msg, record.args = scrub(record.getMessage()), None
        except Exception:  # noqa: BLE001 - arguments that do not fit: logging itself tells of them
            return True
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            record.exc_text = scrub(logging.Formatter().formatException(record.exc_info))
        return True


def _may_hold(text: str) -> bool:
    """Whether the pattern could find something: most lines have none of its words, and looking for those is quick."""
    if not text.isascii():
        return True  # letters that are equal but for their case are more than `lower` knows
    low = text.lower()
    return (
        any(map(low.__contains__, _SIGNS))
        or (("=" in low or ":" in low) and any(map(low.__contains__, _NAMING)))
        or ("@" in low and "://" in low)
        or _DIGITS.search(low) is not None
    )


def _may_be_alone(text: str) -> bool:
    return text[0] in "Aa" or text.isdigit()


def _replaced(found: re.Match[str]) -> str:
    if (card := found["card"]) is not None:
        return REDACTED if _is_card(re.sub("[ -]", "", card)) else card
    before = next((found[name] for name in _BEFORE if found[name] is not None), "")
    hidden = next(found[name] for name in _HIDDEN if found[name] is not None)
    quote = hidden[0] if before and hidden[0] in "\"'" else ""
    return f"{before}{quote}{REDACTED}{quote}"


def _is_card(digits: str) -> bool:
    return 13 <= len(digits) <= 19 and _issued(digits) and _luhn(digits)


def _issued(digits: str) -> bool:
    """Whether a network issues numbers that begin so: most numbers of other kinds, such as instants, do not."""
    first2, first4 = int(digits[:2]), int(digits[:4])
    return (
        digits[0] == "4"
        or 51 <= first2 <= 55
        or 2221 <= first4 <= 2720
        or first2 in {34, 35, 36, 37, 38, 39, 50, 60, 62, 64, 65, 67}
        or first4 in {3000, 3010, 3020, 3030, 3040, 3050}
    )


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
