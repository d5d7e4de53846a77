"""Which cost of a password hash this machine can bear: measured, not guessed.

    proposal = propose_cost(target_s=0.1)
    passwords = Passwords(cost=proposal.cost)

Run it on the machine that will hash, when it is as busy as it will be. Memory is raised first, since it is what hurts
whoever guesses with many small processors; then passes. Never less than the default of `Cost`, which is OWASP's
minimum. Source: RFC 9106, section 4 (choosing parameters).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from archstone import world
from archstone.errors import ConfigError
from archstone.security.passwords import Cost, hasher

__all__ = ["CostProposal", "propose_cost"]

_MEASURED: Final = 3
_PASSES_LIMIT: Final = 50


class CostProposal(NamedTuple):
    """The highest cost within the time."""

    cost: Cost
    took_s: float
    """Seconds that one hash took, the best of three."""
    within: bool
    """Whether that is within the time; False: the minimum takes longer already."""


def propose_cost(
    *, target_s: float = 0.1, memory_limit_kib: int = 65_536, measure: Callable[[Cost], float] | None = None
) -> CostProposal:
    """Return the highest cost with which one hash takes at most `target_s`. It computes for some seconds.

    Args:
        target_s: Seconds for one hash, above 0.
        memory_limit_kib: Memory of one hash at most, in KiB, at least that of `Cost()`. As many hashes as run at once
            take it.
        measure: Returns how long a hash with a cost takes. None: it is measured here.

    Raises:
        ConfigError: One of these is out of range.
    """
    least = Cost()
    if not target_s > 0 or memory_limit_kib < least.memory_kib:
        raise ConfigError(
            f"propose_cost: target_s={target_s} must be above 0, memory_limit_kib={memory_limit_kib} at least"
            f" {least.memory_kib}"
        )
    took = measure or _took_s
    best, took_s = least, took(least)
    if took_s > target_s:
        return CostProposal(best, took_s, within=False)
    for step in (_more_memory(memory_limit_kib), _one_pass_more):
        while (next_cost := step(best)) is not None:
            next_s = took(next_cost)
            if next_s > target_s:
                break
            best, took_s = next_cost, next_s
    return CostProposal(best, took_s, within=True)


def _more_memory(limit_kib: int) -> Callable[[Cost], Cost | None]:
    def step(cost: Cost) -> Cost | None:
        if cost.memory_kib >= limit_kib:
            return None
        return Cost(memory_kib=min(limit_kib, cost.memory_kib * 2), passes=cost.passes, lanes=cost.lanes)

    return step


def _one_pass_more(cost: Cost) -> Cost | None:
    if cost.passes >= _PASSES_LIMIT:
        return None
    return Cost(memory_kib=cost.memory_kib, passes=cost.passes + 1, lanes=cost.lanes)


def _took_s(cost: Cost) -> float:
    made = hasher(cost)
    times: list[float] = []
    for _ in range(_MEASURED):
        before_s = world.monotonic()
        made.hash("how long does this take")
        times.append(world.monotonic() - before_s)
    return min(times)
