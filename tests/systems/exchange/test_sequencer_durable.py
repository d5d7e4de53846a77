"""One node that keeps its commands: nothing that was answered is lost, and a restart comes to the same state."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import numpy as np
import pytest
from tally import Tally, orders

from archstone import world
from archstone.systems.exchange.matching import Reason, Told
from archstone.systems.exchange.sequencer import (
    Batch,
    CommandLog,
    DurableSequencer,
    FolderTakenError,
    FrameTooLargeError,
    LogBrokenError,
    LogDamagedError,
    NotLeadingError,
    SequencerFullError,
    SequencerSettings,
    UnavailableError,
    VenueDiffersError,
)
from archstone.systems.exchange.sequencer.snapshots import Snapshot

SMALL = 1 << 16


class Clock(world.World):
    """Its two clocks go on when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.wall_us, self.since_s = 1_700_000_000_000_000, 100.0

    def pass_s(self, seconds: float) -> None:
        self.wall_us += round(seconds * 1e6)
        self.since_s += seconds

    def monotonic(self) -> float:
        return self.since_s

    def now_us(self) -> int:
        return self.wall_us


class Faulty(Tally):
    """It comes to another state than `Tally`."""

    def digest(self) -> int:
        return super().digest() ^ (len(self.taken) > 3)


def sequencer(folder: Path, venue: type[Tally] = Tally, **settings: object) -> DurableSequencer:
    return DurableSequencer(folder, venue, settings=SequencerSettings(**settings))  # type: ignore[arg-type]


async def fed(folder: Path, count: int, size: int = 1, **settings: object) -> list[Batch]:
    """Run one on which `count` batches of `size` are done; return them."""
    async with sequencer(folder, **settings) as open_one:
        begin = open_one.last
        return [await open_one.submit(orders(begin + 1 + size * n, size)) for n in range(count)]


async def first(stream: "object", count: int) -> list[Batch]:
    batches: list[Batch] = []
    async for batch in stream:  # type: ignore[attr-defined]
        batches.append(batch)
        if sum(len(each.commands) for each in batches) >= count:
            break
    return batches


def ids(batches: Sequence[Batch]) -> list[int]:
    return [order for batch in batches for order in batch.commands["id"].tolist()]


async def test_commands_get_their_numbers_and_what_came_of_them(tmp_path: Path) -> None:
    async with sequencer(tmp_path) as it:
        one, two = await asyncio.gather(it.submit(orders(7, 2)), it.submit(orders(8, 2)))
    assert (one.first, one.last, two.first, two.last) == (1, 2, 3, 4)
    assert one.commands["sequence"].tolist() == [1, 2]
    assert two.events["command"].tolist() == [0, 1]
    assert two.events["kind"].tolist() == [Told.REJECTED, Told.ACCEPTED]
    assert two.events["reason"].tolist() == [Reason.NUMBER, 0]
    assert one.at_ns == two.at_ns


async def test_all_that_waits_goes_into_one_frame_and_the_next_holds_what_came_meanwhile(tmp_path: Path) -> None:
    async with sequencer(tmp_path, max_frame=8) as it:
        await asyncio.gather(*(it.submit(orders(n * 3, 3)) for n in range(1, 5)))
        it._replica.log.sync()
        sizes = [len(frame.commands) for frame in it._replica.log.read(it._replica.log.begin.position)]
    assert sizes == [0, 6, 6]


async def test_a_restart_comes_to_the_same_state_with_and_without_a_snapshot(tmp_path: Path) -> None:
    async with sequencer(tmp_path) as it:
        await it.submit(orders(1, 5))
        await it.snapshot()
        await it.submit(orders(6, 5))
        state = it.venue.dump()
    async with sequencer(tmp_path) as it:
        assert it.venue.dump() == state
        assert it.last == 10
        assert (await it.submit(orders(11))).first == 11
        state = it.venue.dump()
    for path in tmp_path.rglob("*.snapshot"):
        path.unlink()
    async with sequencer(tmp_path) as it:
        assert it.venue.dump() == state


class OtherRules(Tally):
    """Its digest says so from the first frame on."""

    def digest(self) -> int:
        return super().digest() ^ 1


async def test_a_log_is_not_done_by_other_rules_than_those_it_was_written_by(tmp_path: Path) -> None:
    await fed(tmp_path, 1)
    for path in tmp_path.rglob("*.snapshot"):
        path.unlink()
    with pytest.raises(VenueDiffersError, match="after command 0"):
        async with sequencer(tmp_path, OtherRules):
            pass


async def test_a_damaged_snapshot_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    async with sequencer(tmp_path) as it:
        for begin in (1, 11):
            await it.submit(orders(begin, 10))
            await it.snapshot()
        state = it.venue.dump()
    newest = max(tmp_path.rglob("*.snapshot"))
    newest.write_bytes(newest.read_bytes()[:-1])
    async with sequencer(tmp_path) as it:
        assert it.venue.dump() == state


async def test_snapshots_are_taken_by_number_and_by_time_and_let_old_files_go(tmp_path: Path) -> None:
    small = {"snapshot_commands": 1_000, "segment_bytes": SMALL, "keep_segments": 0}
    await fed(tmp_path, 100, 100, **small)
    kept = [int(path.stem) for path in sorted(tmp_path.rglob("*.snapshot"))]
    assert kept == [9_000, 10_000]
    begins = [int(path.stem[:20]) for path in sorted(tmp_path.rglob("*.log"))]
    assert begins[0] <= 9_001 < begins[1]
    async with sequencer(tmp_path, snapshot_s=10, **small) as it:
        assert it.last == 10_000
        await asyncio.sleep(9)
        await it.submit(orders(10_001))
        assert max(int(path.stem) for path in tmp_path.rglob("*.snapshot")) == 10_000
        await asyncio.sleep(2)
        await it.submit(orders(10_002))
    assert max(int(path.stem) for path in tmp_path.rglob("*.snapshot")) == 10_002


async def test_who_follows_gets_each_command_once_from_memory_from_the_log_and_as_it_comes(tmp_path: Path) -> None:
    await fed(tmp_path, 30, 2, recent_commands=6, snapshot_commands=20)
    async with sequencer(tmp_path, recent_commands=6, keep_snapshots=2) as it:
        from_log = await first(it.follow(45), 15)
        assert ids(from_log) == [*range(46, 61)]  # from the middle of a batch on
        from_memory = await first(it.follow(58), 2)
        assert ids(from_memory) == [59, 60]
        assert [event for batch in from_log for event in batch.events["kind"].tolist()] == [Told.ACCEPTED] * 15
        following = asyncio.create_task(first(it.follow(60), 3))
        for begin in range(61, 64):
            await it.submit(orders(begin))
        assert ids(await following) == [61, 62, 63]
        with pytest.raises(LookupError, match="begin with a snapshot"):
            it._replica.log.drop(60)
            it._replica.log._segments[0].begin = it._replica.log._segments[0].begin._replace(sequence=9)
            await first(it.follow(1), 1)


async def test_who_follows_is_given_all_that_the_log_keeps_from_its_oldest_snapshot_on(tmp_path: Path) -> None:
    small = {"snapshot_commands": 500, "segment_bytes": SMALL, "recent_commands": 6}
    await fed(tmp_path, 100, 100, keep_segments=5, **small)
    kept = [int(path.stem) for path in sorted(tmp_path.rglob("*.snapshot"))]
    begins = [int(path.stem[:20]) - 1 for path in sorted(tmp_path.rglob("*.log"))]
    assert begins[0] <= kept[0] < begins[1]
    assert kept[0] < 9_000
    assert 2 <= len(kept) <= len(begins) + 2
    async with sequencer(tmp_path, keep_segments=5, **small) as it:
        for after in (kept[0], begins[1]):
            assert ids(await first(it.follow(after), 10_000 - after)) == [*range(after + 1, 10_001)]
        with pytest.raises(LookupError, match="begin with a snapshot"):
            await first(it.follow(kept[0] - 1), 1)


async def test_a_follower_that_is_slow_is_given_the_rest_from_the_log(tmp_path: Path) -> None:
    async with sequencer(tmp_path, recent_commands=4) as it:
        await it.submit(orders(1))
        stream = it.follow(0)
        assert ids([await anext(stream)]) == [1]
        for begin in range(2, 42):
            await it.submit(orders(begin))
        assert ids(await first(stream, 40)) == [*range(2, 42)]
        await stream.aclose()


async def test_too_many_that_wait_are_refused_and_those_before_them_are_not(tmp_path: Path) -> None:
    async with sequencer(tmp_path, max_waiting=10, max_frame=5) as it:
        waiting = [asyncio.create_task(it.submit(orders(n * 5 + 1, 5))) for n in range(3)]
        await asyncio.wait(waiting)
        assert [len((await each).commands) for each in waiting[:2]] == [5, 5]
        with pytest.raises(SequencerFullError, match="10 commands wait, 10 may") as raised:
            await waiting[2]
        assert raised.value.retry_after_s == 0.05
        assert it.last == 10


@pytest.mark.parametrize("count", [0, 17])
async def test_what_fits_into_no_frame_is_refused(tmp_path: Path, count: int) -> None:
    async with sequencer(tmp_path, max_frame=16) as it:
        with pytest.raises(FrameTooLargeError, match=f"{count} commands at once: submit from 1 to 16"):
            await it.submit(orders(1, count))
        assert len((await it.submit(orders(1, 16))).commands) == 16


async def test_who_stops_waiting_withdraws_what_is_in_no_frame_yet(tmp_path: Path) -> None:
    async with sequencer(tmp_path) as it:
        given_up = asyncio.create_task(it.submit(orders(1)))
        await asyncio.sleep(0)
        given_up.cancel()
        assert (await it.submit(orders(2))).first == 1
        assert list(it.venue.taken) == [2]  # type: ignore[attr-defined]


async def test_a_disk_that_fails_leaves_nobody_in_the_dark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sequencer(tmp_path) as it:
        await it.submit(orders(1))

        def refuse(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("archstone.disk.sync", refuse)
        with pytest.raises(UnavailableError, match="No space left on device"):
            await it.submit(orders(2))
        with pytest.raises(NotLeadingError):
            await it.submit(orders(3))
        monkeypatch.undo()
        assert it._writing is not None
        assert isinstance(it._writing.exception(), LogBrokenError)
        assert list(it.venue.taken) == [1]  # type: ignore[attr-defined]


async def test_a_snapshot_that_cannot_be_kept_is_told_and_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> None:
        raise OSError(28, "No space left on device")

    async with sequencer(tmp_path, snapshot_commands=2) as it:
        monkeypatch.setattr(it._replica.snapshots, "write", refuse)
        await it.submit(orders(1, 2))
        with pytest.raises(OSError, match="No space left"):
            await it.snapshot()
        assert (await it.submit(orders(3))).first == 3
        monkeypatch.undo()
        await it.submit(orders(4, 2))
    assert "no snapshot was kept" in capfd.readouterr().err
    assert [int(path.stem) for path in tmp_path.rglob("*.snapshot")] == [5]


async def test_a_start_that_fails_gives_the_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise LogBrokenError("log", "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(CommandLog, "append", lambda *_: refuse(None))
        with pytest.raises(LogBrokenError, match="No space left"):
            await sequencer(tmp_path).__aenter__()
    async with sequencer(tmp_path) as it:
        assert (await it.submit(orders(1))).first == 1


@pytest.mark.parametrize("before_fsync", [False, True])
async def test_who_submits_while_it_closes_is_answered_or_refused(tmp_path: Path, before_fsync: bool) -> None:
    it = await sequencer(tmp_path, acknowledge_before_fsync=before_fsync).__aenter__()
    leaving = asyncio.create_task(it.__aexit__(None, None, None))
    refused = 0
    while not leaving.done():
        try:
            async with asyncio.timeout(5):
                await it.submit(orders(it.last + 1))
        except NotLeadingError:
            refused += 1
        await asyncio.sleep(0)
    assert refused
    with pytest.raises(NotLeadingError):
        await it.submit(orders(it.last + 1))


async def test_time_goes_on_after_the_clock_was_set_back_and_the_clock_catches_up(tmp_path: Path) -> None:
    clock = Clock()
    with world.use(clock):
        async with sequencer(tmp_path) as it:
            times = [(await it.submit(orders(1))).at_ns]
            clock.wall_us -= 600_000_000
            for order in range(2, 6):
                clock.pass_s(200.0)
                times.append((await it.submit(orders(order))).at_ns)
        async with sequencer(tmp_path) as it:
            clock.pass_s(1_000.0)
            times.append((await it.submit(orders(6))).at_ns)
    steps = [(later - earlier) / 1e9 for earlier, later in pairwise(times)]
    assert steps == [100.0, 100.0, 100.0, 100.0, 800.0]


@pytest.mark.real_time
async def test_two_snapshots_are_never_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sequencer(tmp_path) as it:
        await it.submit(orders(1))
        write, both, met = it._replica.snapshots.write, Barrier(2), list[int]()

        def slow(snapshot: Snapshot) -> None:
            with suppress(BrokenBarrierError):
                met.append(both.wait(0.2))
            write(snapshot)

        monkeypatch.setattr(it._replica.snapshots, "write", slow)
        await asyncio.gather(it.snapshot(), it.snapshot())
        assert met == []


async def test_a_second_one_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with sequencer(tmp_path):
        with pytest.raises(FolderTakenError, match="in use by another process"):
            await sequencer(tmp_path).__aenter__()
    async with sequencer(tmp_path):
        pass


async def test_a_venue_that_comes_to_another_state_is_refused_with_the_command(tmp_path: Path) -> None:
    await fed(tmp_path, 10, digest_commands=4)
    with pytest.raises(VenueDiffersError, match="the venue differs after command 4") as raised:
        await sequencer(tmp_path, Faulty).__aenter__()
    assert raised.value.sequence == 4
    async with sequencer(tmp_path) as it:
        assert it.last == 10


async def test_a_log_that_lost_its_end_while_nothing_ran_is_refused(tmp_path: Path) -> None:
    await fed(tmp_path, 10)
    (file,) = tmp_path.rglob("*.log")
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:-128]):  # a frame that is torn, and one that is not there
        file.write_bytes(damaged)
        with pytest.raises(LogDamagedError, match="the log was closed whole"):
            await sequencer(tmp_path).__aenter__()
        assert file.read_bytes() == damaged
    file.write_bytes(whole)
    async with sequencer(tmp_path) as it:
        assert it.last == 10


async def test_a_log_that_ends_before_its_snapshot_is_refused(tmp_path: Path) -> None:
    await fed(tmp_path, 10, snapshot_commands=10)
    (file,) = tmp_path.rglob("*.log")
    file.write_bytes(file.read_bytes()[: 64 + 64 + 128 * 8])
    (file.parent / "sealed").unlink()  # as if the process had died
    with pytest.raises(LogDamagedError, match="ends with command 8, before snapshot 10"):
        await sequencer(tmp_path).__aenter__()


async def test_answers_before_fsync_are_the_choice_of_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    async with sequencer(tmp_path, acknowledge_before_fsync=True, sync_every_s=0.5) as it:
        real = it._replica.log.sync
        monkeypatch.setattr(it._replica.log, "sync", lambda: (synced.append(it.last), real()))
        await it.submit(orders(1))
        await it.submit(orders(2))
        assert synced == []
        await asyncio.sleep(0.6)
        assert synced == [2]
        await it.submit(orders(3))
    assert synced == [2, 3]
    async with sequencer(tmp_path) as it:
        monkeypatch.setattr(it._replica.log, "sync", lambda: synced.append(-it.last))
        await it.submit(orders(4))
        assert synced == [2, 3, -3]


async def test_a_sync_in_a_thread_keeps_the_order(tmp_path: Path) -> None:
    async with sequencer(tmp_path, sync_in_thread=True) as it:
        batches = await asyncio.gather(*(it.submit(orders(n)) for n in range(1, 30)))
    assert [batch.first for batch in batches] == [*range(1, 30)]


def test_settings_say_all_that_is_wrong_at_once() -> None:
    with pytest.raises(ValueError, match="max_frame=65537 must be in") as raised:
        SequencerSettings(max_frame=65_537, max_waiting=0, sync_every_s=float("nan"))
    assert "max_waiting=0" in str(raised.value)
    assert "sync_every_s=nan" in str(raised.value)
    assert SequencerSettings(max_frame=65_536).max_frame == 65_536


async def test_commands_of_another_kind_of_array_are_refused(tmp_path: Path) -> None:
    async with sequencer(tmp_path) as it:
        with pytest.raises(TypeError, match="COMMAND"):
            await it.submit(np.zeros(3, "u8"))
