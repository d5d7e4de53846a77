"""The decisions of a rate limit as functions of what is known of a key, for stores."""

from archstone.resilience.limiter import TOLERANCE_S, Counted, count_in_window
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.store import Taken

__all__ = ["take_bucket", "take_window"]


def take_bucket(
    policy: RateLimit, paid_at_s: float, cost: float, now_s: float, max_wait_s: float
) -> tuple[float, Taken]:
    """Return the instant at which the key will have paid for all it took, and what was decided."""
    each_s = 1.0 / policy.rate_per_s
    room_s = policy.burst * each_s
    # A wall clock may have been set back: nobody owes more than a burst and the longest line.
    paid_at_s = min(max(now_s, paid_at_s), now_s + room_s + policy.max_wait_s)
    next_s = paid_at_s + cost * each_s
    late_s = next_s - now_s - room_s
    if late_s <= TOLERANCE_S:
        return next_s, Taken(taken=True, wait_s=0.0)
    if late_s <= max_wait_s + TOLERANCE_S:
        return next_s, Taken(taken=True, wait_s=late_s)
    return paid_at_s, Taken(taken=False, wait_s=late_s - max_wait_s + TOLERANCE_S)


def take_window(policy: RateLimit, known: Counted | None, cost: float, now_s: float) -> tuple[Counted, Taken]:
    """Return what the window knows of the key, and what was decided."""
    counted, wait_s = count_in_window(policy, known, cost, now_s)
    return counted, Taken(taken=wait_s == 0.0, wait_s=wait_s + TOLERANCE_S if wait_s else 0.0)
