"""The words of the JSON interfaces for what records say in numbers, and back."""

from enum import IntEnum
from typing import Final, Literal

from archstone.systems.exchange.matching import Limit, Phase, Reason, SelfTrade, Side, TimeInForce

__all__ = [
    "LIMITS",
    "PHASES",
    "REASONS",
    "SELF_TRADES",
    "SIDES",
    "TIFS",
    "LimitWord",
    "PhaseWord",
    "SelfTradeWord",
    "SideWord",
    "TifWord",
    "said",
    "why",
]

SideWord = Literal["buy", "sell"]
TifWord = Literal["gtc", "day", "ioc", "fok"]
SelfTradeWord = Literal["none", "cancel_taker", "cancel_maker", "cancel_both"]
PhaseWord = Literal["continuous", "auction", "halted", "closed"]
LimitWord = Literal["credit", "quantity", "value", "position", "rate", "orders"]

SIDES: Final[dict[str, Side]] = {each.name.lower(): each for each in Side}
TIFS: Final[dict[str, TimeInForce]] = {each.name.lower(): each for each in TimeInForce}
SELF_TRADES: Final[dict[str, SelfTrade]] = {each.name.lower(): each for each in SelfTrade}
PHASES: Final[dict[str, Phase]] = {each.name.lower(): each for each in Phase}
LIMITS: Final[dict[str, Limit]] = {each.name.lower(): each for each in Limit}
REASONS: Final[dict[int, str]] = {
    Reason.FIELD: "a field is out of its range, or two do not go together",
    Reason.PHASE: "trading does not take it now",
    Reason.DUPLICATE: "an order of this number is working",
    Reason.UNKNOWN: "there is no such working order",
    Reason.BAND: "the price is outside of the band",
    Reason.POST_ONLY: "it would have traded at once",
    Reason.USER: "asked for",
    Reason.MASS: "all were canceled",
    Reason.UNFILLED: "nobody takes the rest",
    Reason.NOT_IN_FULL: "it could not be filled in full",
    Reason.SELF_TRADE: "it met an order of your own",
    Reason.DAY: "the day is over",
    Reason.NO_BOOK: "this is not traded",
    Reason.NO_ACCOUNT: "the exchange does not know the account",
    Reason.KILL: "the kill switch is on",
    Reason.NUMBER: "the number was used before, or is too far ahead: take the next one",
    Reason.QUANTITY: "more lots than an order may have",
    Reason.VALUE: "worth more than an order may be",
    Reason.COLLAR: "the price is too far from the last one",
    Reason.CREDIT: "the money does not suffice",
    Reason.POSITION: "the position would be too large",
    Reason.RATE: "too many orders in a second",
    Reason.BREAKER: "the price has moved too far: trading halts",
    Reason.ORDERS: "too many orders are working",
}
"""Of reasons, in a few words; those that are left out are told by their name."""


def said(kind: type[IntEnum], value: int) -> str:
    """Return the word for a number: `buy` for `Side.BUY`."""
    return kind(value).name.lower()


def why(reason: int) -> str:
    """Return a reason in words; empty: there is none."""
    if not reason:
        return ""
    return REASONS.get(reason) or said(Reason, reason).replace("_", " ")
