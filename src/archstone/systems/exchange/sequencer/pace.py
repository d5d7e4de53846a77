"""When frames are made: by the wall clock, and not at one and the same moment for as long as it was set back."""

from archstone import world

__all__ = ["Pace"]


class Pace:
    """Time that never stands still. Set back, the clock is left to catch up with it: it goes on at half the pace."""

    def __init__(self) -> None:
        """Begin with the wall clock."""
        self._last_ns = 0
        self._last_s = world.monotonic()

    def next_ns(self, after_ns: int) -> int:
        """Return nanoseconds since 1970: now, at least `after_ns`, the time of the frame before."""
        now_s = world.monotonic()
        went_on_ns = self._last_ns + int((now_s - self._last_s) * 5e8)
        self._last_ns, self._last_s = max(world.now_us() * 1_000, went_on_ns, after_ns), now_s
        return self._last_ns
