"""What the tests of the suite share."""

import asyncio
from typing import ClassVar
from unittest import SkipTest

from archstone import world

__all__ = ["Suite"]


class Suite:
    """Names that nobody else uses, and time."""

    unit_s: ClassVar[float] = 1.0
    """The step of time that tests count in: a second on virtual time, some hundredths on a server's clock."""

    exact_time: ClassVar[bool] = True
    """Whether `pass_time` lets exactly so much pass. False (a server's own clock): tests about borders are skipped."""

    @staticmethod
    def new_name() -> str:
        """Return a name for a circuit or a limiter of this test alone."""
        return f"conformance-{world.new_id()}"

    def need_exact_time(self) -> None:
        """Skip a test that is about a border of time."""
        if not self.exact_time:
            raise SkipTest("the clock of this store cannot be moved exactly")

    async def pass_time(self, units: float) -> None:
        """Let so many steps pass. Override it where the store has a clock that can be moved."""
        await asyncio.sleep(units * self.unit_s)
