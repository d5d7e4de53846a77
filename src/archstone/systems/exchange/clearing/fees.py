"""What trading costs: parts per million of a trade's worth, by who was there first. Integers only."""

from dataclasses import dataclass
from typing import Final

from archstone.resilience import check

__all__ = ["FeeSchedule"]

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSchedule:
    """The fees of a trade. A schedule that changes holds for what is booked from then on; what is booked stays."""

    maker_ppm: int = 100
    """Of the worth, for who was there first, in parts per million. In [-1000000, 1000000]; below 0: a rebate."""
    taker_ppm: int = 300
    """For who came second. In [-1000000, 1000000]."""
    auction_ppm: int = 200
    """For both sides of a trade in an auction. In [-1000000, 1000000]."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: All faults at once.
        """
        limits = "in [-1000000, 1000000]"
        rates = {"maker_ppm": self.maker_ppm, "taker_ppm": self.taker_ppm, "auction_ppm": self.auction_ppm}
        check(self, **{name: (-_MILLION <= rate <= _MILLION, limits) for name, rate in rates.items()})

    def fee(self, worth: int, rate_ppm: int) -> int:
        """Return what a rate comes to: rounded up to a whole unit, so that what is broken is never the house's loss.

        A fee of 0.1 is 1; a rebate of 0.9 is 0.
        """
        return -(-worth * rate_ppm // _MILLION)
