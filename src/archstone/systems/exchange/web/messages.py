"""What clients of the stream say, checked: one JSON object each, told apart by `op`."""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from archstone.systems.exchange.desk.contract import Lots, NewOrder, Number, Price, Symbol, Value
from archstone.systems.exchange.desk.words import SideWord

__all__ = [
    "MOST_CHANNELS",
    "Asked",
    "Cancel",
    "CancelAll",
    "HowMany",
    "Ping",
    "Place",
    "Replace",
    "Subscribe",
    "Unsubscribe",
    "read",
    "ref_of",
]

MOST_CHANNELS: Final = 50
"""Channels of one connection."""
_SYMBOL: Final = "[A-Z][A-Z0-9-]{0,11}"
_CHANNEL: Final = f"^(quotes|account|reports|(depth|trades):{_SYMBOL}|candles:{_SYMBOL}:(1|60|300|3600))$"

Channel = Annotated[str, StringConstraints(pattern=_CHANNEL)]
"""`quotes`, `account`, `reports`, `depth:ACME`, `trades:ACME`, or `candles:ACME:60`."""
Ref = Annotated[str, StringConstraints(max_length=40)]
"""Comes back with the reply."""


class _Referring(Value):
    ref: Ref = ""


class Subscribe(Value):
    """Send what is on these channels: how it is now, and then what changes."""

    op: Literal["subscribe"]
    ref: Ref = ""
    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=MOST_CHANNELS)]
    after: Annotated[int, Field(ge=0)] | None = None
    """For `reports`: those after this sequence too, if all of them are still kept."""


class Unsubscribe(Value):
    """Send no more of these channels."""

    op: Literal["unsubscribe"]
    ref: Ref = ""
    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=MOST_CHANNELS)]


class Place(Value):
    """Place an order; as `POST /orders`."""

    op: Literal["place"]
    ref: Ref = ""
    order: NewOrder


class Cancel(Value):
    """Cancel an order."""

    op: Literal["cancel"]
    ref: Ref = ""
    number: Number


class Replace(Value):
    """Change what is open of an order, and its price."""

    op: Literal["replace"]
    ref: Ref = ""
    number: Number
    quantity: Lots
    price: Price | None = None


class CancelAll(Value):
    """Cancel all orders, or those of one instrument or side."""

    op: Literal["cancel_all"]
    ref: Ref = ""
    symbol: Symbol | None = None
    side: SideWord | None = None


class HowMany(Value):
    """Answer how many lots of an order the account may have at most; as `GET /limits/most`."""

    op: Literal["most"]
    ref: Ref = ""
    symbol: Symbol
    side: SideWord
    price: Price | None = None
    trigger: Price | None = None


class Ping(Value):
    """Answer."""

    op: Literal["ping"]
    ref: Ref = ""


Asked = Annotated[
    Subscribe | Unsubscribe | Place | Cancel | Replace | CancelAll | HowMany | Ping, Field(discriminator="op")
]
_SHORT: Final = 4_096
"""Characters of a message of which the `ref` is looked for before all else: it is done however often they come."""
_ASKED: TypeAdapter[Asked] = TypeAdapter(Asked)


def ref_of(text: str) -> str:
    """Return the `ref` of a message, whatever else is wrong with it; empty: it has none, or is too long to look."""
    try:
        return _Referring.model_validate_json(text).ref if len(text) <= _SHORT else ""
    except ValidationError:
        return ""


def read(text: str) -> Asked:
    """Return what was said. ValueError: it is none of these."""
    return _ASKED.validate_json(text)
