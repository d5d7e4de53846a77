"""When what was traded is settled: so many business days after its trade date, by the calendar of UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from archstone.resilience import check

__all__ = ["Settlement", "date_of", "day_of_ns", "day_of_us", "number_of"]

_EPOCH: Final = date(1970, 1, 1)
_DAY_US: Final = 86_400_000_000
_SATURDAY: Final = 5


def date_of(day: int) -> date:
    """Return the date of a number of days since 1970."""
    return _EPOCH + timedelta(days=day)


def number_of(day: date) -> int:
    """Return how many days a date is after 1970."""
    return (day - _EPOCH).days


def day_of_us(at_us: int) -> int:
    """Return the day of a moment in microseconds, UTC."""
    return at_us // _DAY_US


def day_of_ns(at_ns: int) -> int:
    """Return the day of a moment in nanoseconds, UTC."""
    return day_of_us(at_ns // 1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The calendar of settlement. On the settlement date, from midnight UTC on, what is pending is settled."""

    days: int = 1
    """Business days after the trade date: T+1. In [0, 30]."""
    holidays: frozenset[date] = frozenset()
    """Days on which nothing is settled, beside Saturdays and Sundays."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: `days` is out of its range.
        """
        check(self, days=(0 <= self.days <= 30, "in [0, 30]"))

    def due(self, day: int) -> int:
        """Return the settlement date of a trade date; both in days since 1970."""
        found, left = date_of(day), self.days
        while left or not self._is_open(found):
            found += timedelta(days=1)
            left -= left > 0 and self._is_open(found)
        return number_of(found)

    def _is_open(self, day: date) -> bool:
        return day.weekday() < _SATURDAY and day not in self.holidays

    @staticmethod
    def today(now: datetime) -> int:
        """Return the day of a moment, in days since 1970, UTC."""
        return number_of(now.astimezone(UTC).date())
