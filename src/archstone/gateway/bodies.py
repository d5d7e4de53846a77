"""How many request bodies may be under way at once, in all and from one client.

Promise: a body is read before its request takes a place among those inside, so whoever sends half a body holds
nothing but one of these places, and not more of them than one client may have. A body that has arrived with its
headers, as nearly all do, needs none and is never refused here.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from archstone.gateway.errors import BodiesPendingError
from archstone.observability import counter, gauge
from archstone.resilience import OverloadedError
from archstone.services.http import Ring, Watch

__all__ = ["Bodies"]

RETRY_AFTER_S: Final = 1.0

_pending = gauge("archstone_bodies_pending", "Request bodies under way.")
_refused = counter("archstone_bodies_refused", "Requests refused for the bodies under way, by bound.", ("bound",))


class Bodies:
    """Counts the bodies that are waited for. Not for threads: use it on the loop's.

    Args:
        limit: Bodies under way in all. At least 1.
        limit_each: Of these, how many one client may have. At least 1.
        limit_program: Of those of one client, how many one program that acts for it may have. At least 1.
        in_time: Gives up a body that is late.
    """

    __slots__ = ("_each", "_in_time", "_limit", "_limit_each", "_limit_program", "_pending")

    def __init__(self, limit: int, *, limit_each: int, limit_program: int, in_time: Watch) -> None:
        self._limit = limit
        self._limit_each = limit_each
        self._limit_program = limit_program
        self._in_time = in_time
        self._pending = 0
        self._each: dict[str, int] = {}
        _pending.watch(lambda: self._pending)

    def of(self, key: str, program: str | None = None) -> Watch:
        """Return the watch over one body of the client `key`: from when it is first waited for, it is counted.

        Where there is no place left the watch raises: BodiesPendingError (429) if this client, or the program that
        acts for it, has as many as it may, OverloadedError (503) if all clients together have.
        """
        bounds = {key: self._limit_each}
        return partial(self._watch, bounds if program is None else {program: self._limit_program, **bounds})

    def _watch(self, bounds: Mapping[str, int], ring: Ring) -> Callable[[], None]:
        self._enter(bounds)
        stop = self._in_time(ring)

        def leave() -> None:
            stop()
            self._leave(bounds)

        return leave

    def _enter(self, bounds: Mapping[str, int]) -> None:
        for key, limit in bounds.items():
            if self._each.get(key, 0) >= limit:
                _refused.labels("client").inc()
                raise BodiesPendingError(key, limit, RETRY_AFTER_S)
        if self._pending >= self._limit:
            _refused.labels("all").inc()
            raise OverloadedError("gateway", "bodies pending", self._pending, self._limit, RETRY_AFTER_S)
        self._pending += 1
        for key in bounds:
            self._each[key] = self._each.get(key, 0) + 1

    def _leave(self, keys: Iterable[str]) -> None:
        self._pending -= 1
        for key in keys:
            left = self._each[key] - 1
            if left:
                self._each[key] = left
            else:
                del self._each[key]
