"""What the tests of the suite share."""

import asyncio
from typing import ClassVar

from archstone import world

__all__ = ["Suite"]


class Suite:
    """Names that nobody else uses, and time."""

    unit_s: ClassVar[float] = 1.0
    """The step of time that tests count in: a second on virtual time, some hundredths on a server's clock."""

    @staticmethod
    def new_name() -> str:
        """Return a name for a circuit or a limiter of this test alone."""
        return f"conformance-{world.new_id()}"

    async def pass_time(self, units: float) -> None:
        """Let so many steps pass. Override it where the store has a clock that can be moved."""
        await asyncio.sleep(units * self.unit_s)
