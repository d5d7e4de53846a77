"""What the tape tells: trades and payments, in the order of the stream."""

from archstone.data import Event
from archstone.systems.exchange.tape.facts import Carried, Payment, Trade

__all__ = ["FactsTold"]


class FactsTold(Event, name="tape.facts-told", version=1, key="stream"):
    """Trades and payments of some commands. Numbered without gaps, so that who hears of them sees what is missing."""

    stream: str = "venue"
    """All of one stream arrive in order."""
    number: int
    """From 1."""
    through: int
    """All facts of commands up to this one are in this event and those before it."""
    trades: tuple[Trade, ...]
    values: tuple[tuple[int, int], ...]
    """Of each book among the trades: what a lot is worth per tick, in the smallest unit of money."""
    payments: tuple[Payment, ...]
    carried: tuple[Carried, ...] = ()
    """What accounts had before the first command that is told, where the stream no longer has its beginning."""
