"""Keys of callers who have not signed in: one stranger's key is nobody else's business."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from archstone import world
from archstone.context import NOBODY, Principal
from archstone.data import Database
from archstone.sagas import saga
from archstone.services import (
    ANYONE,
    Contract,
    Dispatcher,
    KeyReusedError,
    Service,
    StillRunningError,
    command,
    operations,
    options,
)

ANN = Principal("ann", frozenset({"customer"}))


class Desk(Contract, version="1.0"):
    @command("/letters", public=True, requires=ANYONE)
    async def write(self, text: str) -> str: ...

    @command("/parcels", public=True, requires=ANYONE)
    async def send(self, text: str) -> str: ...


class DeskService(Service, Desk):
    async def write(self, text: str) -> str:
        await self.tx.execute("INSERT INTO letters VALUES (:text)", text=text)
        if text == "slow":
            await asyncio.sleep(1.0)
        return f"{text} {world.new_id()}"

    @saga(version=1)
    async def send(self, text: str) -> str:
        return await self.step(self.pack, text)

    async def pack(self, text: str) -> str:
        await self.tx.execute("INSERT INTO letters VALUES (:text)", text=text)
        return f"{text} {world.new_id()}"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Dispatcher]:
    async with Database(f"sqlite:///{tmp_path}/desk.db") as db:
        await db.execute("CREATE TABLE letters (text TEXT NOT NULL)")
        async with Dispatcher(DeskService(db=db)) as made:
            yield made


async def written(desk: Dispatcher) -> list[str]:
    return await desk.service.db.all(str, "SELECT text FROM letters")


@pytest.mark.parametrize("verb", ["write", "send"])
async def test_a_strangers_key_is_free_for_another_strangers_request(desk: Dispatcher, verb: str) -> None:
    nobody = options(desk.client(Desk, as_=NOBODY), key="1")
    mine = await getattr(nobody, verb)("mine")
    theirs = await getattr(nobody, verb)("theirs")
    assert (mine.split()[0], theirs.split()[0]) == ("mine", "theirs")
    assert await written(desk) == ["mine", "theirs"]


@pytest.mark.parametrize("verb", ["write", "send"])
async def test_a_strangers_repeat_happens_once_and_gets_the_same_answer(desk: Dispatcher, verb: str) -> None:
    nobody = options(desk.client(Desk, as_=NOBODY), key="1")
    first = await getattr(nobody, verb)("mine")
    assert await getattr(nobody, verb)("mine") == first
    assert await written(desk) == ["mine"]


async def test_who_knows_the_request_but_not_its_key_learns_no_answer(desk: Dispatcher) -> None:
    nobody = desk.client(Desk, as_=NOBODY)
    assert await options(nobody, key="1").write("mine") != await options(nobody, key="2").write("mine")


async def test_a_stranger_in_flight_is_in_nobodys_way(desk: Dispatcher) -> None:
    nobody = options(desk.client(Desk, as_=NOBODY), key="1", retry=None)
    slow = asyncio.create_task(nobody.write("slow"))
    await asyncio.sleep(0.5)
    with pytest.raises(StillRunningError, match="key '1'"):
        await nobody.write("slow")
    with pytest.raises(StillRunningError):
        await nobody.write("slow")
    await slow
    assert (await nobody.write("fast")).startswith("fast ")


@pytest.mark.parametrize("verb", ["write", "send"])
async def test_somebody_who_is_signed_in_is_told_when_a_key_is_reused(desk: Dispatcher, verb: str) -> None:
    ann = options(desk.client(Desk, as_=ANN), key="1")
    nobody = options(desk.client(Desk, as_=NOBODY), key="1")
    await getattr(nobody, verb)("mine")
    await getattr(ann, verb)("mine")
    with pytest.raises(KeyReusedError):
        await getattr(ann, verb)("other")
    assert await written(desk) == ["mine", "mine"]


async def test_what_is_kept_of_a_strangers_call_is_no_digest_of_its_arguments_alone(desk: Dispatcher) -> None:
    await options(desk.client(Desk, as_=NOBODY), key="a-long-random-key").write("a password")
    encoded = operations(Desk)[0].encode_arguments({"text": "a password"})
    scope, key, fingerprint = await desk.service.db.one(
        tuple[str, str, bytes], "SELECT scope, key, fingerprint FROM _archstone_keys"
    )
    assert (scope, fingerprint) == ("", b"")
    assert "a-long-random-key" not in key
    assert sha256(encoded).hexdigest()[:16] not in key
