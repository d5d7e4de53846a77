"""How many requests an account may make in a second."""

from typing import Final

from archstone.resilience import RateLimit, RateLimitedError

__all__ = ["Allowances"]

_TOLERANCE_S: Final = 5e-10
"""Half of what the limiter has, so that what was found to fit is not refused for the last bit."""


class Allowances:
    """How many requests each account may still make: `per_s` more in a second, at most `per_s` at once."""

    def __init__(self, per_s: int) -> None:
        """Begin with all of it for everybody."""
        self._per_s = per_s
        self._limiter = RateLimit(per_s, burst=per_s).bind("order entry")

    def take(self, account: int, wanted: int) -> tuple[int, float]:
        """Take up to `wanted`, at least 1. Return how many were left to take, and seconds until one more is."""
        asked = min(wanted, self._per_s)
        try:
            self._limiter.take(str(account), asked)
        except RateLimitedError as error:
            # A limiter gives all or nothing, and says when it would have given all: so much of it is there.
            fits = int(asked - (error.retry_after_s - _TOLERANCE_S) * self._per_s)
            if fits > 0:
                self._limiter.take(str(account), fits)
            return fits, max(0.0, error.retry_after_s - (asked - fits - 1) / self._per_s)
        return asked, 0.0 if asked == wanted else 1 / self._per_s
