"""When a step began and ended, and how often it was tried, is on disk."""

from datetime import timedelta
from pathlib import Path

import pytest

from archstone import world
from archstone.data import Database
from archstone.errors import DomainError, RejectedError
from archstone.resilience import Exponential, Retry
from archstone.sagas import Sagas, current_step, saga
from archstone.sagas.journal import Past


class Full(DomainError, code="instants.full"):
    pass


class Partner:
    def __init__(self) -> None:
        self.refusals = 0

    async def ask(self, what: str) -> str:
        if what == "full":
            raise Full
        if self.refusals:
            self.refusals -= 1
            raise RejectedError("not now")
        return what

    async def take_back(self, what: str) -> None:
        del what


class Owner:
    def __init__(self) -> None:
        self.partner = Partner()

    @saga()
    async def three(self, last: str) -> None:
        step = current_step()
        await step(self.partner.ask, "first", undo=(self.partner.take_back, "first"))
        await step.sleep(60)
        await step(self.partner.ask, last, retry=Retry(3, backoff=Exponential(5, factor=1)))


async def test_a_journal_tells_when_and_how_often(tmp_path: Path) -> None:
    owner = Owner()
    began = world.now()
    async with Database(f"sqlite:///{tmp_path / 'a.db'}") as db, Sagas(db, owner=owner) as sagas:
        owner.partner.refusals = 0
        await sagas.run(owner.three, "last", id="s1")
        info = await sagas.inspect("s1")
    first, nap, last = info.steps
    assert [step.attempts for step in info.steps] == [1, 1, 1]
    assert first.begun_at is not None
    assert first.ended_at is not None
    assert began <= first.begun_at <= first.ended_at
    assert nap.begun_at is not None
    assert nap.ended_at is not None
    assert nap.ended_at - nap.begun_at >= timedelta(seconds=60)
    assert last.begun_at is not None
    assert last.begun_at >= nap.ended_at
    assert info.failure is None


async def test_a_step_that_was_tried_again_says_how_often(tmp_path: Path) -> None:
    owner = Owner()
    async with Database(f"sqlite:///{tmp_path / 'a.db'}") as db, Sagas(db, owner=owner) as sagas:
        owner.partner.refusals = 2
        await sagas.run(owner.three, "last", id="s1")
        info = await sagas.inspect("s1")
    assert [step.attempts for step in info.steps] == [3, 1, 1]


async def test_a_failure_and_its_undoing_have_instants_too(tmp_path: Path) -> None:
    owner = Owner()
    async with Database(f"sqlite:///{tmp_path / 'a.db'}") as db, Sagas(db, owner=owner) as sagas:
        with pytest.raises(Full):
            await sagas.run(owner.three, "full", id="s1")
        info = await sagas.inspect("s1")
    first, _, last = info.steps
    assert last.state == "failed"
    assert last.attempts == 1
    assert last.ended_at is not None
    assert first.undone_at is not None
    assert first.undone_at >= last.ended_at
    assert info.failure is not None
    assert "instants.full" in info.failure


def test_a_journal_without_instants_is_read_as_it_was() -> None:
    row = (
        b'[["begin","main/a#1",1,"a",[],null],["answer","main/a#1",7],["sleep","main/sleep#1",2,99],'
        b'["begin","main/b#1",3,"b",[],["c",[1]]],["failed","main/b#1",{}],["undone","main/b#1"]]'
    )
    steps = Past.read([row]).steps.values()
    assert [(each.begun_us, each.ended_us, each.undone_us, each.attempts) for each in steps] == [(None,) * 4] * 3
    assert [each.failed for each in steps] == [False, False, True]
    assert [each.undone for each in steps] == [False, False, True]
