"""A small program as a user writes it, over public names only. mypy reads it; nobody runs it."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import assert_type

from archstone import context, simulation, world
from archstone.errors import ArchstoneError, DomainError, RejectedError
from archstone.security import AccessToken, KeyFile, Passwords, Tokens


class OutOfStock(DomainError, code="inventory.out-of-stock", status=409):
    """There is not enough of it."""

    def __init__(self, sku: str) -> None:
        super().__init__(sku)
        self.sku = sku


async def wait_a_day() -> datetime:
    """Wait without waiting."""
    await asyncio.sleep(86_400)
    return world.now()


def with_virtual_time() -> None:
    """Run it on virtual time."""
    assert_type(simulation.run(wait_a_day, seed=7, limit_s=None), datetime)
    assert_type(simulation.run(wait_a_day()), datetime)
    trace = simulation.Trace(keep=True)
    simulation.run(wait_a_day, trace=trace)
    assert_type(trace.digest(), str)


def who_asks() -> str:
    """Read what travels with a call."""
    call = context.current()
    with context.enter(call._replace(principal=context.Principal("ann", frozenset({"customer"})))) as entered:
        assert_type(entered.deadline_s, float | None)
    return call.principal.id


def branches(error: ArchstoneError) -> float | None:
    """Tell errors apart by what the caller can do."""
    if isinstance(error, RejectedError):
        return error.retry_after_s
    assert_type(error.code, str)
    return None


async def sign_in(stored: str | None, offered: str, folder: Path) -> AccessToken | None:
    """Check a password and give a token."""
    async with Passwords(waiting=10) as passwords:
        verdict = await passwords.verify(stored, offered)
    assert_type(verdict.new_hash, str | None)
    tokens = Tokens(KeyFile(folder / "keys.json").load(), issuer="mine", audience="mine-api")
    return tokens.issue(context.Principal("ann")) if verdict.right else None
