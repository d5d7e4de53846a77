"""Events that another release has stored are read by this one, or it says why not."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from archstone.data import Database, Event, EventError
from archstone.eventsourcing import Aggregate, EventStore, HandlerError, NewerEventError, apply, upcast

OTHER = Path(__file__).parent / "es_other_release.py"


class AccountOpened(Event, name="estest.account-opened", version=3, key="account_id"):
    account_id: str
    first: str
    last: str
    currency: str
    nickname: str = "none"


class Account(Aggregate, name="account"):
    owner: str = ""

    @apply
    def opened(self, event: AccountOpened) -> None:
        self.owner = f"{event.last}, {event.first} ({event.currency})"


@upcast("estest.account-opened", 1)
def two_names(fields: dict[str, Any]) -> dict[str, Any]:
    first, _, last = fields.pop("name").partition(" ")
    return {**fields, "first": first, "last": last}


@upcast("estest.account-opened", 2)
def with_currency(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "currency": "EUR"}


@asynccontextmanager
async def left_by(release: str, url: str) -> AsyncIterator[EventStore]:
    subprocess.run([sys.executable, OTHER, release, url], check=True, timeout=60)
    async with Database(url) as db:
        store = EventStore(db)
        await store.open()
        yield store


@pytest.mark.parametrize("release", ["1", "2"])
async def test_what_an_old_release_stored_is_read_in_the_present_form(url: str, release: str):
    async with left_by(release, url) as store:
        account = await store.load(Account, "a")
        assert (account.owner, account.version) == ("Doe, John (EUR)", 1)
        (stored,) = await store.read()
        assert stored.event == AccountOpened(account_id="a", first="John", last="Doe", currency="EUR")
        kinds = await store.db.all(str, "SELECT kinds FROM _archstone_events")
        assert kinds == [f"estest.account-opened {release}"]


async def test_what_a_later_release_stored_is_told_as_such(url: str):
    async with left_by("9", url) as store:
        with pytest.raises(NewerEventError) as caught:
            await store.load(Account, "a")
        assert str(caught.value) == (
            "event estest.account-opened is stored with version 9, this release knows up to 3; run the later release"
        )
        with pytest.raises(NewerEventError):
            await store.read()


async def test_an_event_without_a_class_here_is_told_as_such(store: EventStore, db: Database):
    await store.append("account/a", [AccountOpened(account_id="a", first="J", last="D", currency="EUR")])
    await db.execute("UPDATE _archstone_events SET kinds = 'estest.gone 3'")
    with pytest.raises(EventError, match=r"event estest.gone: version 3 is not known; import the module"):
        await store.load(Account, "a")


async def test_an_old_version_that_nothing_leads_on_from_is_told_as_such(store: EventStore, db: Database):
    class Solo(Event, name="estest.solo", version=2):
        pass

    await store.append("solo", [Solo()])
    await db.execute("UPDATE _archstone_events SET kinds = 'estest.solo 1'")
    with pytest.raises(HandlerError) as caught:
        await store.stream("solo")
    assert str(caught.value) == (
        "event estest.solo: version 1 is stored, and there is neither a class nor an @upcast for it"
    )


async def test_an_upcast_that_comes_late_is_used_from_then_on(store: EventStore):
    name = f"estest.late-{store.db.dialect}"  # what is registered stays

    class First(Event, name=name, version=1):
        word: str

    await store.append("late", [First(word="one")])
    assert (await store.stream("late"))[0].event == First(word="one")

    class Second(Event, name=name, version=2):
        words: tuple[str, ...]

    @upcast(name, 1)
    def into_a_tuple(fields: dict[str, Any]) -> dict[str, Any]:
        return {"words": (fields["word"],)}

    assert (await store.stream("late"))[0].event == Second(words=("one",))


def test_two_upcasts_from_one_version_are_refused():
    def another(fields: dict[str, Any]) -> dict[str, Any]:
        return fields

    with pytest.raises(HandlerError, match=r"two_names and .*another both lead on from there: keep one"):
        upcast("estest.account-opened", 1)(another)
