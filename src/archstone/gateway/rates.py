"""How often somebody may come, and of that one program that acts for them.

Promise: an API key or an app takes at most its share of what its owner may ask, so that one that runs wild leaves room
for the others and for the owner; a key that was given a limit of its own keeps to that as well. All of them count for
the owner: a second key is no second allowance. A request that is refused for its program costs the owner nothing.
"""

from typing import Final

from archstone.context import Principal, Program
from archstone.resilience import Limiter, RateLimit, RateLimitedError, SharedLimiter, SharedState

__all__ = ["Rates"]

_MINUTE_S: Final = 60.0
_OWN: Final = RateLimit.sliding_window(1, seconds=_MINUTE_S)
"""A minute of a program, of which each request takes its part: so one limiter holds for all limits."""


class Rates:
    """Counts requests by principal or address, and by program. Shared by all processes where there is a store.

    Args:
        policy: What one principal, or one address, may ask. None: no limit but those that keys were given.
        program_ratio: Which part of it one program may take, in (0, 1].
        store: Where it is counted. None: in this process.
    """

    __slots__ = ("_all", "_own", "_program")

    def __init__(self, policy: RateLimit | None, *, program_ratio: float, store: SharedState | None) -> None:
        self._all: Limiter | SharedLimiter | None = None
        self._program: Limiter | SharedLimiter | None = None
        self._own = _OWN.bind("gateway: a program's own limit", store=store)
        if policy is not None:
            part = RateLimit(policy.rate_per_s * program_ratio, burst=max(1.0, policy.burst * program_ratio))
            self._all = policy.bind("gateway", store=store)
            self._program = part.bind("gateway: one program", store=store)

    async def turn(self, key: str) -> None:
        """Take one request for an address, or for a principal that nobody acts for.

        Raises:
            RateLimitedError: There were too many; `retry_after_s` is when the next can come.
        """
        if self._all is not None:
            await self._all.turn(key)

    async def take(self, key: str, principal: Principal) -> None:
        """Take one request of a principal, counted as `key`, and of the program that acts for it; see `turn`."""
        if principal.by is not None:
            await self._by_program(principal.by)
        await self.turn(key)

    async def _by_program(self, program: Program) -> None:
        # Before the owner's own: what a program that runs wild is refused must not use up what the others need. And its
        # own limit first, which tells it how long it really has to wait.
        if (most := program.per_minute) is not None:
            try:
                await self._own.turn(program.id, 1 / most)
            except RateLimitedError as error:  # told by what the key was given, not by parts of a minute
                raise RateLimitedError(error.limiter, program.id, error.retry_after_s, most / _MINUTE_S) from None
        if self._program is not None:
            await self._program.turn(program.id)
