"""How many requests an account may make in a second."""

from archstone import world

__all__ = ["Allowance"]


class Allowance:
    """How many requests an account may still make: it grows by `per_s` a second, to `per_s` at most."""

    def __init__(self, per_s: int) -> None:
        """Begin with all of it."""
        self._per_s = per_s
        self._left = float(per_s)
        self._at_s = world.monotonic()

    def take(self, wanted: int) -> int:
        """Take up to `wanted`, and return how many were left to take."""
        now_s = world.monotonic()
        self._left = min(float(self._per_s), self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        taken = min(wanted, int(self._left))
        self._left -= taken
        return taken

    def wait_s(self) -> float:
        """Return seconds until one more is left to take."""
        return max(0.0, 1.0 - self._left) / self._per_s
