"""What clients of the stream say, checked: one JSON object each, told apart by `op`."""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, TypeAdapter

from archstone.systems.exchange.desk.contract import Lots, NewOrder, Number, Price, Symbol, Value
from archstone.systems.exchange.desk.words import SideWord

__all__ = [
    "MOST_CHANNELS",
    "Asked",
    "Cancel",
    "CancelAll",
    "Ping",
    "Place",
    "Replace",
    "Subscribe",
    "Unsubscribe",
    "read",
]

MOST_CHANNELS: Final = 50
"""Channels of one connection."""
_SYMBOL: Final = "[A-Z][A-Z0-9-]{0,11}"
_CHANNEL: Final = f"^(quotes|account|reports|(depth|trades):{_SYMBOL}|candles:{_SYMBOL}:(1|60|300|3600))$"

Channel = Annotated[str, StringConstraints(pattern=_CHANNEL)]
"""`quotes`, `account`, `reports`, `depth:ACME`, `trades:ACME`, or `candles:ACME:60`."""
Ref = Annotated[str, StringConstraints(max_length=40)]
"""Comes back with the reply."""


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


class Ping(Value):
    """Answer."""

    op: Literal["ping"]
    ref: Ref = ""


Asked = Annotated[Subscribe | Unsubscribe | Place | Cancel | Replace | CancelAll | Ping, Field(discriminator="op")]
_ASKED: TypeAdapter[Asked] = TypeAdapter(Asked)


def read(text: str) -> Asked:
    """Return what was said. ValueError: it is none of these."""
    return _ASKED.validate_json(text)
