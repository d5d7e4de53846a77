"""Whether a password is known from a breach, asked of a service that does not learn the password.

    breached = PwnedPasswords("https://api.pwnedpasswords.com/range/")
    passwords = Passwords(breached=breached)

Sent are the first five of the forty hex digits of the password's SHA-1: some eight hundred known passwords share them,
and all of those come back to be compared here (k-anonymity). The answer is padded, so that its length tells nothing
either. SHA-1 is what the service is indexed by; nothing is stored under it.

Promise: no answer within the time, or none that can be read, means "not known", and is counted and logged: a service
that is away lets nobody's registration fail. Off unless you ask for it. Source: Li et al. 2019, "Protocols for Checking
Compromised Credentials" (CCS); the range API of Have I Been Pwned.
"""

import asyncio
import hashlib
import hmac
import re
import unicodedata
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Final, Protocol
from urllib.parse import urlsplit

from archstone.errors import ConfigError
from archstone.observability import counter, get_logger

__all__ = ["BreachedPasswords", "Fetch", "PwnedPasswords", "unanswered"]

Fetch = Callable[[str], Awaitable[str]]
"""Returns what a GET of a URL answers, as text; raises OSError or ValueError if that does not work."""

_PREFIX: Final = 5
_LINE: Final = re.compile(r"([0-9A-Fa-f]{35}):([0-9]{1,12})\s*")
_ANSWER_BYTES: Final = 500_000
_log = get_logger("archstone.security.breached")
unanswered = counter("archstone_breached_passwords_unanswered", "Questions about passwords that got no answer.", ())


class BreachedPasswords(Protocol):
    """Knows passwords from breaches."""

    async def times_seen(self, password: str, /) -> int:
        """Return how often a password was found in breaches; 0 if never, or if that is not known now."""
        ...


class PwnedPasswords:
    """Asks a service with the range API of Have I Been Pwned: theirs, or a copy of one's own."""

    def __init__(self, url: str, *, timeout_s: float = 2.0, fetch: Fetch | None = None) -> None:
        """Say whom to ask.

        Args:
            url: Of the API; the five hex digits are put behind it.
            timeout_s: Seconds to wait for an answer, above 0.
            fetch: How to ask. None: with the standard library, in a thread, without following redirects.

        Raises:
            ConfigError: The URL is not http or https, or the time is not above 0.
        """
        if urlsplit(url).scheme not in {"http", "https"} or not timeout_s > 0:
            raise ConfigError(f"PwnedPasswords: {url!r} must be http or https, and timeout_s={timeout_s} above 0")
        self._url = url if url.endswith("/") else f"{url}/"
        self._timeout_s = timeout_s
        self._fetch = fetch or self._get

    async def times_seen(self, password: str, /) -> int:
        """Return how often a password was found; see `BreachedPasswords.times_seen`."""
        plain = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
        digest = hashlib.sha1(plain, usedforsecurity=False).hexdigest().upper()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._fetch(f"{self._url}{digest[:_PREFIX]}")
        except (OSError, ValueError) as error:  # a time-out is an OSError
            unanswered.inc()
            _log.warning("nobody says whether a password is known from a breach", reason=type(error).__name__)
            return 0
        return _count(answer, digest[_PREFIX:])

    async def _get(self, url: str) -> str:
        return await asyncio.to_thread(_get, url, self._timeout_s)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *told: object, **more: object) -> None:
        """Refuse: what is asked goes to whom it was meant for."""
        del told, more


_opener: Final = urllib.request.build_opener(_NoRedirect)


def _get(url: str, timeout_s: float) -> str:
    request = urllib.request.Request(url, headers={"Add-Padding": "true", "User-Agent": "archstone"})  # noqa: S310 - http(s) only
    with _opener.open(request, timeout=timeout_s) as answer:
        return answer.read(_ANSWER_BYTES).decode("ascii", "replace")


def _count(answer: str, wanted: str) -> int:
    seen = 0
    # All lines, whether one fits or not: padding has the count 0.
    for line in answer.splitlines():
        found = _LINE.fullmatch(line)
        if found is not None and hmac.compare_digest(found[1].upper(), wanted):
            seen = int(found[2])
    return seen
