"""Why a picture cannot be had, and for how long it is not tried again."""

from collections import OrderedDict
from typing import Final, Literal

from archstone import world

__all__ = ["Failures", "ImageError", "Outcome"]

Outcome = Literal["refused", "unreachable", "late", "answer", "large", "kind", "broken", "full", "disk", "known"]
"""
refused: the address is none that is fetched, such as one inside the network. unreachable: no name, no connection.
late: it took too long. answer: no 200, no HTTP, or cut off. large: too many bytes or pixels. kind: no picture that is
passed on. broken: a picture that cannot be read. full: too many are waited for. disk: it could not be kept. known: it
failed a while ago, and was not tried.
"""
MOST: Final = 4_096
"""Failures that are remembered; the oldest is forgotten first."""


class ImageError(Exception):
    """A picture cannot be shown. It never leaves the shop: whoever asked gets a drawing.

    Its text names a host and no address, which may hold what is nobody's business.
    """

    def __init__(self, outcome: Outcome, why: str, *, host: str = "", dead: bool = False) -> None:
        super().__init__(outcome, why)
        self.outcome: Outcome = outcome
        self.why = why
        self.host = host
        """Where it failed; empty: not at a host."""
        self.dead = dead
        """Whether the host itself cannot be had, so that its other pictures need not be tried."""

    def __str__(self) -> str:
        return f"{self.outcome}: {self.why}"

    def again(self) -> "ImageError":
        """Return what to raise for one that is not tried because this one failed."""
        return ImageError("known", self.why, host=self.host)


class Failures:
    """Remembers what failed, each for a while, at most 4,096 of them."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, ImageError]] = OrderedDict()

    def note(self, key: str, error: ImageError, *, keep_s: float) -> None:
        """Remember that `key` failed, for `keep_s` seconds from now on."""
        self._known.pop(key, None)
        # Another one: this one has a traceback by now, whose frames hold the picture.
        self._known[key] = world.monotonic() + keep_s, error.again()
        while len(self._known) > MOST:
            self._known.popitem(last=False)

    def find(self, key: str) -> ImageError | None:
        """Return how `key` failed; None if it did not, or so long ago that it is to be tried again."""
        until_s, error = self._known.get(key, (0.0, None))
        if error is not None and world.monotonic() >= until_s:
            del self._known[key]
            return None
        return error
