"""Addresses that accounts have left a short while ago: held, so that nobody takes them while there is a way back."""

from typing import Final, NamedTuple

from archstone import world
from archstone.systems.shop.users.factorstore import Reads, Writes

__all__ = ["HELD_S", "MOST_HELD", "Former", "former", "held_by_others", "held_of", "hold", "sweep", "take_back"]

HELD_S: Final = 7 * 86_400
"""Seconds for which a change can be undone."""
MOST_HELD: Final = 5
"""Addresses that one account holds at most; with so many it cannot change before the oldest is free."""
_MICROS: Final = 1_000_000

_SINCE: Final = (
    "DELETE FROM backup_codes WHERE user_id = :id",  # they have no date, and whoever was there may have seen them
    "DELETE FROM totp_factors WHERE user_id = :id AND added_at >= :since",
    "DELETE FROM passkeys WHERE user_id = :id AND added_at >= :since",
    "DELETE FROM known_places WHERE user_id = :id AND seen_at >= :since",
    "DELETE FROM former_addresses WHERE user_id = :id AND changed_at >= :since",
)


class Former(NamedTuple):
    """An address of before."""

    email: str
    changed_at: int
    """Microseconds, as below."""
    until: int


async def former(db: Reads, user_id: str, email: str) -> Former | None:
    """Return the address that a user has left, while there is a way back to it."""
    return await db.first(
        Former,
        "SELECT email, changed_at, until FROM former_addresses WHERE email = :email AND user_id = :id AND until > :now",
        email=email, id=user_id, now=world.now_us(),
    )  # fmt: skip


async def held_by_others(db: Reads, email: str, user_id: str) -> bool:
    """Return whether somebody else has left an address so shortly ago that nobody may have it."""
    found = await db.first(
        int, "SELECT count(*) FROM former_addresses WHERE email = :email AND user_id <> :id AND until > :now",
        email=email, id=user_id, now=world.now_us(),
    )  # fmt: skip
    return bool(found)


async def held_of(db: Reads, user_id: str) -> list[Former]:
    """Return what a user holds, the first to become free first."""
    return await db.all(
        Former,
        "SELECT email, changed_at, until FROM former_addresses WHERE user_id = :id AND until > :now ORDER BY until",
        id=user_id, now=world.now_us(),
    )  # fmt: skip


async def hold(tx: Writes, user_id: str, *, old: str, new: str) -> None:
    """Hold the address that a user leaves, and no more the one that they come back to."""
    now_us = world.now_us()
    await tx.execute("DELETE FROM former_addresses WHERE email IN (:old, :new)", old=old, new=new)
    await tx.execute(
        "INSERT INTO former_addresses (email, user_id, changed_at, until) VALUES (:old, :id, :now, :until)",
        old=old, id=user_id, now=now_us, until=now_us + HELD_S * _MICROS,
    )  # fmt: skip


async def take_back(tx: Writes, user_id: str, since: int) -> None:
    """Forget what was added to an account since an instant (microseconds), and the changes of its address."""
    for statement in _SINCE:
        values = {"id": user_id} | ({"since": since} if ":since" in statement else {})
        await tx.execute(statement, **values)


async def sweep(tx: Writes) -> None:
    """Let go of what is held no more."""
    await tx.execute("DELETE FROM former_addresses WHERE until <= :now", now=world.now_us())
