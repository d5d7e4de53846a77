"""How the embedded bank behaves: well, or badly in one of three ways that banks have.

    well       answers at once
    slow       does what it is asked, and answers after five seconds
    failing    of four calls the first fails before anything is done, the third after all is done; the others work
    dead       nobody picks up: nothing is done

`failing` is made so that nobody can tell whether a call that failed has moved money, and so that failures are never
many in a row: a breaker that counts those stays closed, and only a budget bounds what is asked again.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, Literal

from archstone.errors import DomainError
from archstone.systems.shop.payments.provider import ProviderUnreachableError

__all__ = ["Conduct", "Mode"]

Mode = Literal["well", "slow", "failing", "dead"]

_ROUND: Final = 4
_UNHEARD: Final = 0
_ANSWER_LOST: Final = 2


class Conduct:
    """Of one bank."""

    def __init__(self, *, slow_answer_s: float) -> None:
        self.slow_answer_s = slow_answer_s
        self.mode: Mode = "well"
        self.calls: Counter[str] = Counter()
        """Calls that came in, by what was asked, answered or not, since the bank was opened."""
        self._since = 0

    def turn(self, mode: Mode) -> None:
        """Behave so from the next call on."""
        self.mode = mode
        self._since = 0

    @asynccontextmanager
    async def call(self, what: str) -> AsyncGenerator[None]:
        """Take one call: the block does what is asked, unless nobody hears it.

        Raises:
            ProviderUnreachableError: nobody did, or the answer was lost.
        """
        self.calls[what] += 1
        mode, number = self.mode, self._since % _ROUND
        self._since += 1
        if mode == "dead":
            raise ProviderUnreachableError("bank", "nobody picks up")
        if mode == "failing" and number == _UNHEARD:
            raise ProviderUnreachableError("bank", "it did not understand")
        try:
            yield
        except DomainError:
            await self._dawdle(mode)
            raise
        if mode == "failing" and number == _ANSWER_LOST:
            raise ProviderUnreachableError("bank", "its answer was lost")
        await self._dawdle(mode)

    async def _dawdle(self, mode: Mode) -> None:
        if mode == "slow":
            await asyncio.sleep(self.slow_answer_s)
