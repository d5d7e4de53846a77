"""Where the sessions of browsers are kept: one row each, ended by deleting it.

A token that is used again and again, unlike a refresh token: two tabs of one browser come at the same time. What a
row proves is asked of the database at every request, so that ending it, or withdrawing a role, holds at once.
"""

import base64
from collections.abc import Awaitable
from typing import Final, NamedTuple, Protocol

from archstone import world
from archstone.systems.shop.users.contract import browser_mark
from archstone.systems.shop.users.tickets import PROOF_S

__all__ = ["ALIVE", "Limits", "Writes", "begin", "due", "end", "end_all", "limits", "prove", "proved", "renew", "sweep"]

IDLE_S: Final = 14 * 86_400
"""Seconds without a visit after which a session has ended."""
LONGEST_S: Final = 90 * 86_400
"""Seconds from its beginning after which it has ended in any case."""
RENEW_AFTER_S: Final = 86_400
"""A visit is written down if the last one was so long ago: at most one write a day."""
MAX_EACH: Final = 20
"""Sessions of one user; the longest unseen makes room."""
SWEEP_ROWS: Final = 1_000
_MICROS: Final = 1_000_000
_TOKEN_BYTES: Final = 32

ALIVE: Final = "b.mark = :mark AND b.seen_at > :seen_after AND b.begun_at > :begun_after"
_OLDEST: Final = (
    "DELETE FROM browser_sessions WHERE user_id = :user_id AND mark NOT IN (SELECT mark FROM browser_sessions"
    " WHERE user_id = :user_id ORDER BY seen_at DESC, mark LIMIT :keep)"
)
_ENDED: Final = (
    "DELETE FROM browser_sessions WHERE mark IN (SELECT mark FROM browser_sessions"
    " WHERE seen_at <= :seen_after OR begun_at <= :begun_after LIMIT :limit)"
)


class Writes(Protocol):
    """An open transaction, as far as it is needed here."""

    def execute(self, sql: str, /, **params: object) -> Awaitable[int]:
        """Run a statement and return how many rows it changed."""
        ...


class Limits(NamedTuple):
    """Instants before which a session has ended, in microseconds."""

    seen_after: int
    begun_after: int


def limits() -> Limits:
    """Return the limits of this moment."""
    now_us = world.now_us()
    return Limits(now_us - IDLE_S * _MICROS, now_us - LONGEST_S * _MICROS)


def due(seen_at: int) -> bool:
    """Return whether a visit is to be written down, the last one having been at `seen_at` (microseconds)."""
    return world.now_us() - seen_at > RENEW_AFTER_S * _MICROS


def proved(proved_at: int) -> bool:
    """Return whether it is recent that somebody proved at `proved_at` (microseconds) who they are."""
    return world.now_us() - proved_at < PROOF_S * _MICROS


async def prove(tx: Writes, mark: str, user_id: str) -> None:
    """Write down that the user of a session has just proved who they are."""
    await tx.execute(
        "UPDATE browser_sessions SET proved_at = :now WHERE mark = :mark AND user_id = :user_id",
        now=world.now_us(), mark=mark, user_id=user_id,
    )  # fmt: skip


async def begin(tx: Writes, user_id: str) -> str:
    """Return the token of a new session. It is kept nowhere."""
    token = base64.urlsafe_b64encode(world.secret_bytes(_TOKEN_BYTES)).decode("ascii").rstrip("=")
    await tx.execute(_OLDEST, user_id=user_id, keep=MAX_EACH - 1)
    await tx.execute(
        "INSERT INTO browser_sessions (mark, user_id, begun_at, seen_at, proved_at)"
        " VALUES (:mark, :user_id, :at, :at, :at)",
        mark=browser_mark(token), user_id=user_id, at=world.now_us(),
    )  # fmt: skip
    return token


async def renew(tx: Writes, mark: str) -> None:
    """Write down that the session is in use, if it has not ended."""
    now_us = world.now_us()
    seen_after, begun_after = limits()
    await tx.execute(
        f"UPDATE browser_sessions AS b SET seen_at = :now WHERE {ALIVE}",  # noqa: S608 - a constant
        now=now_us, mark=mark, seen_after=seen_after, begun_after=begun_after,
    )  # fmt: skip


async def end(tx: Writes, mark: str) -> None:
    """End a session; one that is unknown has ended already."""
    await tx.execute("DELETE FROM browser_sessions WHERE mark = :mark", mark=mark)


async def end_all(tx: Writes, user_id: str, *, but: str | None = None) -> None:
    """End every session of a user, except one. None: without exception."""
    await tx.execute(
        "DELETE FROM browser_sessions WHERE user_id = :user_id AND mark <> :but", user_id=user_id, but=but or ""
    )


async def sweep(tx: Writes) -> None:
    """Delete what has ended by itself."""
    seen_after, begun_after = limits()
    gone = SWEEP_ROWS
    while gone == SWEEP_ROWS:
        gone = await tx.execute(_ENDED, seen_after=seen_after, begun_after=begun_after, limit=SWEEP_ROWS)
