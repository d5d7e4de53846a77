"""What orders keeps of a checkout that goes by events: that there is one, until when, and which way it goes.

    begin ──> forward ──end_forward──> ended (confirmed)
                 │ turn
                 v
              backward (turned once more whenever it is late) ──end──> ended (cancelled)

`end_forward` and `turn` are conditional updates of the same row, so that of a confirmation and a deadline one wins. A
row stays when it has ended: it says in which form an order was carried out.
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple

from archstone import world
from archstone.data import Database
from archstone.resilience import OverloadedError
from archstone.services import Tx
from archstone.systems.shop.orders.administration import CheckoutOfOrder

__all__ = ["DEADLINE_S", "Late", "begin", "check_room", "checkout_of", "end", "end_forward", "late", "turn"]

DEADLINE_S: Final = 300.0
"""Seconds in which a checkout must be confirmed or refused: longer than a bank is asked, less than goods are held."""
AGAIN_S: Final = 60.0
"""Seconds until a way back that has no end is begun again; twice as long each time."""
LONGEST_S: Final = 3600.0
MAX_UNDER_WAY: Final = 10_000
"""Checkouts under way at once; beyond it no order is accepted, as none is while too many sagas wait."""
LIMIT: Final = 200
"""Late checkouts turned back in one transaction."""
_RETRY_AFTER_S: Final = 5.0

_FULL: Final = "SELECT 1 FROM checkouts WHERE due_at IS NOT NULL LIMIT 1 OFFSET :most"
_BEGIN: Final = "INSERT INTO checkouts (order_id, due_at) VALUES (:id, :due)"
_END_FORWARD: Final = "UPDATE checkouts SET due_at = NULL WHERE order_id = :id AND due_at IS NOT NULL AND turns = 0"
_END: Final = "UPDATE checkouts SET due_at = NULL WHERE order_id = :id"
_TURN: Final = (
    "UPDATE checkouts SET due_at = :due, turns = turns + 1"
    " WHERE order_id = :id AND due_at IS NOT NULL AND turns = :turns"
)
_LATE: Final = (
    "SELECT order_id, turns FROM checkouts WHERE due_at > :after AND due_at <= :now ORDER BY due_at LIMIT :limit"
)


class Late(NamedTuple):
    """A checkout whose time is up."""

    order_id: str
    turns: int
    """How often it was turned back before."""


class _Row(NamedTuple):
    due_at: int | None
    turns: int


async def check_room(db: Database) -> None:
    """Refuse what would begin one more checkout if too many are under way.

    It is asked before the transaction, so that orders that begin at once do not get into each other's way. A few more
    than the bound may begin.

    Raises:
        OverloadedError: too many are under way.
    """
    if await db.first(int, _FULL, most=MAX_UNDER_WAY - 1) is not None:
        raise OverloadedError("checkouts by events", "under way", MAX_UNDER_WAY, MAX_UNDER_WAY, _RETRY_AFTER_S)


async def begin(tx: Tx, order_id: str) -> None:
    """Write down that a checkout begins."""
    await tx.execute(_BEGIN, id=order_id, due=_due(DEADLINE_S))


async def end_forward(tx: Tx, order_id: str) -> bool:
    """End a checkout that can be confirmed; False if it was turned back, has ended, or never was."""
    return await tx.execute(_END_FORWARD, id=order_id) == 1


async def end(tx: Tx, order_id: str) -> None:
    """End a checkout, whichever way it goes."""
    await tx.execute(_END, id=order_id)


async def turn(tx: Tx, order_id: str, *, turns: int = 0) -> bool:
    """Turn a checkout back that was turned `turns` times; False if it was turned since, has ended, or never was."""
    due = _due(min(AGAIN_S * 2**turns, LONGEST_S))
    return await tx.execute(_TURN, id=order_id, turns=turns, due=due) == 1


async def late(tx: Tx, *, since_us: int) -> list[Late]:
    """Return checkouts whose time is up, at most 200.

    Args:
        tx: Of orders.
        since_us: When orders began to look, microseconds. What was late by then gets its whole time once more:
            nobody could answer while the shop was closed.
    """
    now_us = world.now_us()
    after_us = since_us if now_us < since_us + int(DEADLINE_S * 1_000_000) else 0
    return await tx.all(Late, _LATE, after=after_us, now=now_us, limit=LIMIT)


async def checkout_of(db: Database, order_id: str) -> CheckoutOfOrder:
    """Return in which form an order is carried out, and until when."""
    row = await db.first(_Row, "SELECT due_at, turns FROM checkouts WHERE order_id = :id", id=order_id)
    if row is None:
        return CheckoutOfOrder(form="saga", due_at=None, turned_back=0)
    due_at = None if row.due_at is None else datetime.fromtimestamp(row.due_at / 1_000_000, UTC)
    return CheckoutOfOrder(form="choreography", due_at=due_at, turned_back=row.turns)


def _due(seconds: float) -> int:
    return world.now_us() + int(seconds * 1_000_000)
