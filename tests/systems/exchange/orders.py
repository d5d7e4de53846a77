"""Commands in few words, and books that say what came of them in few words."""

from collections.abc import Callable

from archstone.systems.exchange.matching import (
    Command,
    Engine,
    Event,
    Kind,
    Phase,
    Reason,
    Side,
    Told,
    Type,
)

__all__ = ["buy", "cancel", "enter", "mass_cancel", "play", "replace", "sell"]


def _new(side: Side, id: int, quantity: int, price: int, /, *, account: int | None = None, **more: int) -> Command:
    kind = Type.LIMIT if price else Type.MARKET
    return Command(Kind.NEW, id, account or id, side, kind, price=price, quantity=quantity, **more)


def buy(id: int, quantity: int, price: int = 0, /, **more: int) -> Command:
    """A buy; without a price a market order. The account is the id unless it is said."""
    return _new(Side.BUY, id, quantity, price, **more)


def sell(id: int, quantity: int, price: int = 0, /, **more: int) -> Command:
    """A sell, likewise."""
    return _new(Side.SELL, id, quantity, price, **more)


def cancel(id: int, account: int | None = None) -> Command:
    return Command(Kind.CANCEL, id, account or id)


def replace(id: int, quantity: int, price: int = 0, account: int | None = None) -> Command:
    return Command(Kind.REPLACE, id, account or id, price=price, quantity=quantity)


def mass_cancel(account: int, side: int = 0) -> Command:
    return Command(Kind.MASS_CANCEL, account=account, side=side)


def enter(phase: Phase) -> Command:
    return Command(Kind.PHASE, type=phase)


SHORT: dict[int, Callable[[Event], str]] = {
    Told.TRADED: lambda event: f"{event.id}x{event.other} {event.quantity}@{event.price}",
    Told.REJECTED: lambda event: f"!{event.id} {Reason(event.reason).name}",
    Told.CANCELED: lambda event: f"-{event.id} {event.left} {Reason(event.reason).name}",
    Told.RESTED: lambda event: f"+{event.id} {event.quantity}@{event.price}",
    Told.REFRESHED: lambda event: f"~{event.id} {event.quantity}@{event.price}",
    Told.REPLACED: lambda event: f"={event.id} {event.quantity}@{event.price}{' kept' if event.other else ''}",
    Told.TRIGGERED: lambda event: f"*{event.id}",
    Told.UNCROSSED: lambda event: f"auction {event.quantity}@{event.price} over {event.left}",
}
"""An event in a few words."""


def play(book: Engine, *commands: Command) -> list[str]:
    """Do commands and say what came of them, apart from that they were accepted."""
    return [SHORT[event.kind](event) for command in commands for event in book.apply(command) if event.kind in SHORT]
