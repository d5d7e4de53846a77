"""How often a secret may be tried: per account and per place, with a pause that grows, and no way to lock an owner out.

    attempts = Attempts()
    async with attempts.admit(email, context.whence(), failure=SignInError, known=been_here):
        ...                                            # check; a SignInError that leaves the block counts

Only failures count. They fill several limits at once, a quick one, one of an hour and one of a day, so that the pause
grows the longer somebody goes on. Of one account at most `at_once` tries are under way together: whoever sends a
thousand at the same moment is not counted late. Strangers who fail fill the limit of the account as far as strangers
are concerned; the owner, at a place where they have signed in before (`known`), has a limit apart. So guessing closes
the account to guessers, and not to its owner.

Shared by processes through a store (`SharedState`). A process learns from its own next failure that others have filled
a limit, so n processes let at most n tries more through. Source: OWASP, Authentication Cheat Sheet (device cookies);
NIST SP 800-63B-4, 3.2.2 (at most 100 failures in a row).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from archstone import world
from archstone.observability import counter
from archstone.resilience import Limiter, RateLimit, RateLimitedError, SharedLimiter, SharedState

__all__ = ["ACCOUNT_LIMITS", "PLACE_LIMITS", "Attempt", "Attempts"]

ACCOUNT_LIMITS: Final = (
    RateLimit(0.1, burst=9),
    RateLimit(60 / 3600, burst=39),
    RateLimit(200 / 86_400, burst=99),
)
"""Failures before a pause: after the tenth ten seconds each, after the fortieth a minute, after the hundredth seven."""
PLACE_LIMITS: Final = (RateLimit(0.5, burst=29), RateLimit(600 / 3600, burst=299))
"""After the thirtieth failure two seconds each, after the three hundredth six: a place may be a whole office."""

_FORGET_ABOVE: Final = 50_000
_PAUSE_S: Final = 1.0
_DEBT_S: Final = 86_400.0
_failures = counter("archstone_attempts_failed", "Secrets tried in vain.", ("attempts",))
_closed = counter("archstone_attempts_refused", "Tries that were refused, by what was full.", ("attempts", "full"))


@dataclass(frozen=True, slots=True)
class _Gate:
    """What one try must pass: a name in metrics, a key, and the limits that its failures fill."""

    full: str
    key: str
    limiters: "tuple[Limiter | SharedLimiter, ...]"
    at_once: int


class Attempts:
    """Counts failures. One for each kind of secret: passwords, second factors, codes of mails."""

    def __init__(
        self,
        name: str = "attempts",
        *,
        account: Sequence[RateLimit] = ACCOUNT_LIMITS,
        place: Sequence[RateLimit] = PLACE_LIMITS,
        at_once: int = 3,
        shared: SharedState | None = None,
    ) -> None:
        """Describe the limits.

        Args:
            name: In errors, metrics and the store.
            account: Failures of one account, by strangers, or from one place that is known.
            place: Failures from one place.
            at_once: Tries of one account under way together, at least 1; ten times as many from one place.
            shared: Where failures are counted for all processes; open it before, close it after. None: in this one.
        """
        self.name = name
        self._account = tuple(limit.bind(f"{name} account {n}", store=shared) for n, limit in enumerate(account))
        self._place = tuple(limit.bind(f"{name} place {n}", store=shared) for n, limit in enumerate(place))
        self._at_once = at_once
        self._running: dict[str, int] = {}
        self._closed_until_s: dict[str, float] = {}

    def admit(
        self, account: str, place: str, *, failure: type[Exception] | tuple[type[Exception], ...], known: bool = False
    ) -> "Attempt":
        """Return the block of one try: `async with attempts.admit(...):`.

        Args:
            account: What is tried to be opened, whether it exists or not.
            place: Where the try comes from; empty if that is not known, and not counted.
            failure: What a failed try raises.
            known: Whether the owner has been at this place before.

        Raises (when the block is entered):
            RateLimitedError: Too many have failed; `retry_after_s` says when to come again. Nothing was tried.
        """
        about = f"{account}\0{place}" if known and place else account
        gates = [_Gate("account", f"account {about}", self._account, self._at_once)]
        if place:
            gates.append(_Gate("place", f"place {place}", self._place, self._at_once * 10))
        return Attempt(self, gates, failure)

    def begin(self, gates: Sequence[_Gate]) -> None:
        """Let a try pass, or raise RateLimitedError."""
        now_s = world.monotonic()
        for gate in gates:
            until_s = self._closed_until_s.get(gate.key, 0.0)
            if now_s < until_s:
                raise self._refusal(gate, until_s - now_s)
            if self._running.get(gate.key, 0) >= gate.at_once:
                raise self._refusal(gate, _PAUSE_S)
        for gate in gates:
            self._running[gate.key] = self._running.get(gate.key, 0) + 1

    async def end(self, gates: Sequence[_Gate], *, failed: bool) -> None:
        """Take note of the end of a try."""
        try:
            if failed:
                _failures.labels(self.name).inc()
                for gate in gates:
                    await self._count(gate)
        finally:
            for gate in gates:
                left = self._running[gate.key] - 1
                if left:
                    self._running[gate.key] = left
                else:
                    del self._running[gate.key]

    async def _count(self, gate: _Gate) -> None:
        """Fill every limit of a gate; close it for as long as the fullest of them says."""
        wait_s = max([await _fill(limiter, gate.key) for limiter in gate.limiters], default=0.0)
        if wait_s:
            self._close(gate.key, world.monotonic() + wait_s)

    def _close(self, key: str, until_s: float) -> None:
        if len(self._closed_until_s) >= _FORGET_ABOVE:
            now_s = world.monotonic()
            over = [each for each, end_s in self._closed_until_s.items() if end_s <= now_s]
            for each in over or [next(iter(self._closed_until_s))]:
                del self._closed_until_s[each]
        self._closed_until_s[key] = until_s

    def _refusal(self, gate: _Gate, retry_after_s: float) -> RateLimitedError:
        _closed.labels(self.name, gate.full).inc()
        # The key names an account or an address: not for the error, which travels.
        return RateLimitedError(self.name, gate.full, retry_after_s, gate.limiters[0].policy.rate_per_s)


class Attempt:
    """One try: the block of `Attempts.admit`."""

    __slots__ = ("_attempts", "_failure", "_gates")

    def __init__(
        self, attempts: Attempts, gates: Sequence[_Gate], failure: type[Exception] | tuple[type[Exception], ...]
    ) -> None:
        self._attempts = attempts
        self._gates = gates
        self._failure = failure

    async def __aenter__(self) -> None:
        self._attempts.begin(self._gates)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._attempts.end(self._gates, failed=isinstance(error, self._failure))


async def _fill(limiter: "Limiter | SharedLimiter", key: str) -> float:
    """Add a failure, also to a limit that is full, and return how long the next try must wait."""
    try:
        if isinstance(limiter, Limiter):
            return limiter.take(key, max_wait_s=_DEBT_S)
        return await limiter.take(key, max_wait_s=_DEBT_S)
    except RateLimitedError as error:  # more than a day of debt, or a store that is away and refuses
        return error.retry_after_s
