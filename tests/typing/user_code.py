"""A small program as a user writes it, over public names only. mypy reads it; nobody runs it."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, assert_type

from archstone import context, simulation, world
from archstone.cache import Cache
from archstone.data import Database, Event, Transaction
from archstone.errors import ArchstoneError, DomainError, RejectedError
from archstone.eventsourcing import (
    Aggregate,
    EventStore,
    Personal,
    Projection,
    Projector,
    Recorded,
    Unit,
    apply,
    when,
)
from archstone.resilience import Breaker, Bulkhead, Fallback, Policy, RateLimit, Retry, SharedState, Timeout
from archstone.security import AccessToken, KeyFile, Passwords, Tokens
from archstone.services import Tx


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


class NameChanged(Event, name="typing.name-changed"):
    """Somebody is called otherwise now."""

    name: str


class EmailGiven(Event, name="typing.email-given", key="person"):
    """An address that can be erased."""

    person: str
    email: Annotated[str, Personal("person")]


class Person(Aggregate, name="typing-person"):
    """Decisions and what follows from them."""

    name: str = ""

    def rename(self, name: str) -> None:
        """Decide."""
        self.record(NameChanged(name=name))

    @apply
    def renamed(self, event: NameChanged) -> None:
        """Change the state."""
        self.name = event.name


class Names(Projection, name="typing-names"):
    """A read model with handlers of both forms."""

    @when
    async def renamed(self, tx: Transaction, event: NameChanged) -> None:
        """Take the event."""
        await tx.execute(f"INSERT INTO {self.table('names')} (name) VALUES (:name)", name=event.name)

    @when
    async def noted(self, tx: Transaction, event: EmailGiven, recorded: Recorded[Event]) -> None:
        """Take what is known about it, too."""
        assert_type(recorded.caused_by, str | None)


async def event_sourced(db: Database) -> None:
    """Decide, save, and read what was written."""
    store = EventStore(db)
    person = await store.load(Person, "1")
    assert_type(person, Person)
    assert_type(await store.find(Person, "1"), Person | None)
    person.rename("Ann")
    async with Projector(store, Names()) as names, db.transaction() as tx:
        assert_type(await store.save(person, tx=tx), int)
        await names.reached(1, timeout_s=1.0)
    assert_type(await store.read(after=0), list[Recorded[Event]])


async def cached() -> None:
    """Read through a cache: a decorated function keeps its signature, and values their type."""
    profiles = Cache("memory:", ttl_s=300, jitter_ratio=0.1, refresh_ahead_ratio=0.8)

    @profiles.aside("user:{user_id}", tags=["user:{user_id}"])
    async def name_of(user_id: str, *, long: bool = False) -> str:
        return user_id

    async with profiles:
        assert_type(await name_of("7", long=True), str)
        assert_type(await profiles.get("user:7", str), str | None)
        assert_type(await profiles.get_many(["user:7"], str), dict[str, str])
        await profiles.set("n", 1, tags=["t"], ttl_s=5)
        await profiles.invalidate(tag="user:7")


def in_a_service(tx: Tx) -> Unit:
    """Save an aggregate in the transaction of a command: `store.save(person, tx=self.tx)`."""
    return tx


calm = Policy(Timeout(2.0), Retry(3, budget_ratio=0.1), Breaker(5), Bulkhead(50), Fallback(len))


@calm.bind("payments")
async def charge(order: str, *, cents: int) -> str:
    """Charge behind a policy: the signature stays."""
    return f"{order} {cents}"


@Breaker(5)
def plainly(order: str) -> int:
    """Work behind a circuit, without a loop."""
    return len(order)


async def behind_layers() -> None:
    """Use what is bound."""
    assert_type(await charge("A1", cents=7), str)
    assert_type(plainly("A1"), int)
    async with SharedState("memory:") as shared:
        await RateLimit(10).bind("api", store=shared).take("ann")
        assert_type((await Breaker(5).bind("bank", store=shared).statistics()).failures, int)
    RateLimit(10).bind("api").take("ann")
