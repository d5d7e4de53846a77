"""The command log: what was synced is found again, a torn tail is cut, and any other damage is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import orders

from archstone import disk
from archstone.systems.exchange.matching import COMMAND
from archstone.systems.exchange.sequencer.errors import LogDamagedError
from archstone.systems.exchange.sequencer.frames import (
    Frame,
    Mark,
    Position,
    agreement,
    decode,
    fault,
)
from archstone.systems.exchange.sequencer.log import CommandLog, LogBrokenError

SMALL = 1 << 16
"""Bytes of a file, so that there are several."""


def opened(folder: Path, **options: int) -> CommandLog:
    log = CommandLog(folder, **options)
    log.open()
    return log


def put(log: CommandLog, *counts: int) -> list[Frame]:
    """Append frames with so many commands each; 0 begins the next epoch."""
    frames: list[Frame] = []
    for count in counts:
        commands = orders(log.end.sequence + 1, count) if count else np.zeros(0, COMMAND)
        epoch = None if count else log.end.epoch + 1
        frames.append(Frame.after(log.end, commands, at_ns=log.end.at_ns + 1, epoch=epoch))
        log.append(frames[-1])
    log.sync()
    return frames


def heads(frames: object) -> list[bytes]:
    return [frame.head for frame in frames]  # type: ignore[attr-defined]


BEGIN = Position(0, 0)


def test_a_frame_is_read_as_it_was_made() -> None:
    frame = Frame.after(Mark(3, 9, 5, 77), orders(1, 4), at_ns=8, digest=2**64 - 1)
    found = decode(b"".join(frame.parts) + b"more")
    assert found is not None
    assert (found.epoch, found.first, found.last, found.at_ns, found.digest) == (3, 10, 13, 8, 2**64 - 1)
    assert found.commands["sequence"].tolist() == [10, 11, 12, 13]
    assert found.mark == frame.mark
    assert fault(found, Mark(3, 9, 5, 77)) is None


def test_time_never_goes_back() -> None:
    assert Frame.after(Mark(1, 1, 50, 0), orders(1), at_ns=20).at_ns == 50


@pytest.mark.parametrize(
    ("mark", "problem"),
    [
        (Mark(1, 8, 5, 77), "begins with command 10"),
        (Mark(1, 9, 5, 78), "follows another frame"),
        (Mark(2, 9, 5, 77), "its epoch"),
        (Mark(1, 9, 9, 77), "its time"),
    ],
)
def test_a_frame_that_does_not_follow_is_refused(tmp_path: Path, mark: Mark, problem: str) -> None:
    frame = Frame.after(Mark(1, 9, 5, 77), orders(1, 4), at_ns=8)
    assert problem in str(fault(frame, mark))
    with pytest.raises(LogDamagedError, match="begins with command"):
        opened(tmp_path).append(frame)


def test_an_empty_frame_begins_an_epoch_and_no_other() -> None:
    mark = Mark(1, 9, 5, 77)
    empty = np.zeros(0, COMMAND)
    assert fault(Frame.after(mark, empty, at_ns=5, epoch=2), mark) is None
    assert "its epoch" in str(fault(Frame.after(mark, empty, at_ns=5), mark))
    assert "its epoch" in str(fault(Frame.after(mark, orders(1), at_ns=5, epoch=2), mark))


def test_what_was_appended_is_there_after_a_restart_in_several_files(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=SMALL)
    frames = put(log, 0, *[100] * 40)
    assert log.segments > 2
    log.close()
    again = opened(tmp_path, segment_bytes=SMALL)
    assert heads(again.read(BEGIN)) == heads(frames)
    assert again.end == frames[-1].mark
    more = put(again, 3)
    assert heads(again.read(Position(1, 3_900))) == heads([frames[-1], *more])
    again.close()


def test_reading_goes_on_with_what_is_appended_meanwhile(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=SMALL)
    put(log, 0, 1)
    reading = log.read(BEGIN)
    next(reading)
    put(log, *[900] * 4)
    assert [frame.last for frame in reading] == [1, 901, 1801, 2701, 3601]
    log.close()


def test_a_torn_tail_is_cut_wherever_it_is_torn(tmp_path: Path) -> None:
    log = opened(tmp_path)
    frames = put(log, 0, 2, 3)
    log.close()
    (file,) = tmp_path.glob("*.log")
    whole = file.read_bytes()
    end = len(whole) - len(frames[-1])
    for size in [*range(end + 1, len(whole), 13), len(whole) - 1]:
        file.write_bytes(whole[:size])
        log = CommandLog(tmp_path)
        assert log.open() == size - end
        assert log.end == frames[1].mark
        log.close()
        assert file.read_bytes() == whole[:end]


def test_a_tail_of_zeros_is_cut(tmp_path: Path) -> None:
    log = opened(tmp_path)
    frames = put(log, 0, 2)
    log.close()
    (file,) = tmp_path.glob("*.log")
    file.write_bytes(file.read_bytes() + bytes(4096))
    assert opened(tmp_path).end == frames[-1].mark


def test_a_new_file_whose_header_was_never_written_is_removed(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=SMALL)
    frames = put(log, 0, *[600] * 2)
    log.close()
    (tmp_path / "00000000000000009999-0000000001.log").write_bytes(b"AFR")
    again = opened(tmp_path, segment_bytes=SMALL)
    assert again.end == frames[-1].mark
    assert again.segments == 1
    again.close()


@pytest.mark.parametrize("damage", ["torn", "flipped", "shorter", "file gone", "all gone", "header torn"])
def test_a_log_that_was_closed_whole_has_no_torn_tail(tmp_path: Path, damage: str) -> None:
    log = opened(tmp_path, segment_bytes=SMALL)
    put(log, 0, 1_200, 2)
    log.seal()
    log.close()
    files = sorted(tmp_path.glob("*.log"))
    assert len(files) == 2
    data = files[-1].read_bytes()
    match damage:
        case "torn":
            files[-1].write_bytes(data[:-1])
        case "flipped":
            files[-1].write_bytes(data[:-9] + b"x" + data[-8:])
        case "shorter":
            files[-1].write_bytes(data[:64])
        case "header torn":
            files[-1].write_bytes(data[:9])
        case _:
            for path in files[-1:] if damage == "file gone" else files:
                path.unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(LogDamagedError, match="the log was closed whole"):
        opened(tmp_path, segment_bytes=SMALL)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_log_that_was_opened_again_may_have_any_end_after_a_crash(tmp_path: Path) -> None:
    log = opened(tmp_path)
    frames = put(log, 0, 2)
    log.seal()
    log.close()
    again = opened(tmp_path)
    more = put(again, 3)
    again.close()
    (file,) = tmp_path.glob("*.log")
    file.write_bytes(file.read_bytes()[: -len(more[0]) - 1])  # torn further back than where it was sealed
    assert opened(tmp_path).end == frames[0].mark


def test_damage_in_the_middle_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    log = opened(tmp_path)
    frames = put(log, 0, 2, 3)
    log.close()
    (file,) = tmp_path.glob("*.log")
    data = bytearray(file.read_bytes())
    data[len(data) - len(frames[-1]) - 1] ^= 1
    file.write_bytes(data)
    with pytest.raises(LogDamagedError, match="a damaged frame, and a whole one behind it") as raised:
        opened(tmp_path)
    assert raised.value.offset == 128
    assert "empty this node's folder" in str(raised.value)
    assert file.read_bytes() == data


def test_what_somebody_wrote_into_two_commands_is_not_taken_for_a_frame(tmp_path: Path) -> None:
    log = opened(tmp_path)
    put(log, 0, 2)
    end, commands = log.end, orders(1, 4)
    # A whole frame, from the middle of one record to that of the next: the number in between passes for its digest.
    forged = Frame.after(end, np.zeros(0, COMMAND), at_ns=9, epoch=2, digest=log.end.sequence + 2).head
    commands.view("u1")[64 + 16 : 64 + 80] = np.frombuffer(forged, "u1")
    log.append(frame := Frame.after(end, commands, at_ns=9))
    assert forged in frame.parts[1].tobytes()
    log.close()
    (file,) = tmp_path.glob("*.log")
    file.write_bytes(file.read_bytes()[:-1])
    assert opened(tmp_path).end == end


def test_a_missing_file_is_a_gap(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=SMALL)
    put(log, 0, *[900] * 6)
    log.close()
    files = sorted(tmp_path.glob("*.log"))
    assert len(files) > 2
    files[1].unlink()
    with pytest.raises(LogDamagedError, match="a gap"):
        opened(tmp_path, segment_bytes=SMALL)


def test_frames_are_cut_off_and_others_put_in_their_place(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=SMALL)
    frames = put(log, 0, *[900] * 6)
    assert log.epochs() == (BEGIN, Position(1, 5_400))
    log.cut(Position(1, 1_800))
    assert log.end == frames[2].mark
    others = put(log, 0, 5)
    assert log.epochs() == (BEGIN, Position(1, 1_800), Position(2, 1_805))
    log.close()
    again = opened(tmp_path, segment_bytes=SMALL)
    assert heads(again.read(BEGIN)) == heads([*frames[:3], *others])
    assert again.epochs() == log.epochs()
    with pytest.raises(LookupError):
        again.cut(Position(1, 1_801))
    again.close()


def test_old_files_go_and_what_was_in_them_is_no_longer_read(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=SMALL)
    put(log, 0, *[900] * 6)
    files = log.segments
    log.drop(3_000, keep=files - 2)
    assert log.segments == files - 1
    log.drop(3_000)
    begin = log.begin.sequence
    assert 0 < begin <= 3_000
    with pytest.raises(LookupError, match=f"kept from {begin + 1} on"):
        next(log.read(BEGIN))
    assert next(log.read(Position(1, begin))).first == begin + 1
    log.close()
    assert opened(tmp_path, segment_bytes=SMALL).begin.sequence == begin


def test_who_reads_slowly_is_told_that_what_comes_next_is_gone(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=SMALL)
    put(log, 0, *[900] * 6)
    reading = log.read(BEGIN)
    assert next(reading).last == 0
    log.drop(3_600)
    begin = log.begin.sequence
    seen: list[int] = []
    with pytest.raises(LookupError, match=f"kept from {begin + 1} on"):
        seen.extend(frame.last for frame in reading)
    assert seen[-1] < begin
    assert seen == [900 * n for n in range(1, len(seen) + 1)]
    log.close()


def test_a_log_that_begins_anew_does_so_also_after_a_crash_on_the_way(tmp_path: Path) -> None:
    log = opened(tmp_path)
    put(log, 0, 2)
    mark = Mark(7, 100, 5, 99)
    log.reset(mark)
    assert (log.begin, log.end, log.epochs()) == (mark, mark, (Position(7, 100),))
    put(log, 3)
    log.close()
    (file,) = tmp_path.glob("*.log")
    # As it is when the process dies after it has noted what it wants to do.
    (tmp_path / "reset").write_bytes(file.read_bytes()[:64])
    again = opened(tmp_path)
    assert (again.begin, again.end) == (mark, mark)
    assert not (tmp_path / "reset").exists()


def test_a_disk_that_refuses_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path)
    put(log, 0)
    log.append(Frame.after(log.end, orders(1), at_ns=5))

    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("archstone.disk.sync", refuse)
        with pytest.raises(LogBrokenError, match="Input/output error"):
            log.sync()
    with pytest.raises(LogBrokenError):
        log.sync()
    with pytest.raises(LogBrokenError):
        log.append(Frame.after(log.end, orders(2), at_ns=5))
    log.close()


def test_a_file_that_is_full_while_it_is_synced_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path, segment_bytes=SMALL)
    put(log, 0, 1_100)
    sync, begun = disk.sync, list[int]()

    def slow(descriptor: int) -> None:
        begun.append(descriptor)
        if len(begun) == 1:  # as when a thread waits for the disk
            log.append(Frame.after(log.end, orders(2_000), at_ns=log.end.at_ns))
            assert log.segments == 2
        sync(descriptor)

    monkeypatch.setattr(disk, "sync", slow)
    log.sync()
    log.sync()
    monkeypatch.undo()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(begun[0])  # it is given back
    log.close()
    again = opened(tmp_path, segment_bytes=SMALL)
    assert again.end.sequence == 1_101
    again.close()


P = Position


@pytest.mark.parametrize(
    ("mine", "theirs", "found"),
    [
        ([P(0, 0)], [P(0, 0)], P(0, 0)),
        ([P(0, 0), P(1, 5)], [P(0, 0), P(1, 3)], P(1, 3)),
        # The other led on in epoch 1, unheard; epoch 2 began before that.
        ([P(0, 0), P(1, 5), P(2, 9)], [P(0, 0), P(1, 7)], P(1, 5)),
        ([P(0, 0), P(1, 5), P(3, 9)], [P(0, 0), P(1, 5), P(2, 8)], P(1, 5)),
        # One of them no longer has that place, or none at all in common.
        ([P(1, 50), P(1, 90)], [P(0, 0), P(1, 30)], None),
        ([P(0, 0), P(1, 30)], [P(1, 50), P(1, 90)], None),
        ([P(4, 50), P(5, 90)], [P(0, 0), P(1, 30)], None),
        ([P(4, 50), P(5, 90)], [P(0, 0), P(4, 50)], P(4, 50)),
    ],
)
def test_two_logs_are_equal_up_to_the_shorter_end_of_their_last_common_epoch(mine, theirs, found) -> None:
    assert agreement(mine, theirs) == found
    assert agreement(theirs, mine) == found


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, float, int]:
    what = draw(st.sampled_from(["flip", "cut", "zero", "insert", "swap", "junk"]))
    return what, draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 300))


def damaged(data: bytes, what: str, at: int, size: int) -> bytes:
    match what:
        case "flip":
            return data[:at] + bytes([data[at] ^ (size % 255 + 1)]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "zero":
            return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
        case "insert":
            return data[:at] + bytes(size // 64 * 64) + data[at:]  # by blocks, as disks and file systems do
        case "swap":
            half = data[at : at + size]
            return data[:at] + half[::-1] + data[at + size :]
        case _:
            return data + bytes(range(256)) * (size // 100) + b"AFRM" * 16


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], list[Frame]]:
    """A folder, the files of a log that was there, and its frames."""
    folder = tmp_path_factory.mktemp("log")
    log = opened(folder, segment_bytes=SMALL)
    frames = put(log, 0, *[250, 1, 300] * 4)
    log.close()
    return folder, {path.name: path.read_bytes() for path in sorted(folder.glob("*.log"))}, frames


@settings(max_examples=200, deadline=None)
@given(damage=damages(), which=st.integers(0, 2))
def test_any_damage_is_cut_at_the_tail_or_refused_and_never_silently_wrong(
    written: tuple[Path, dict[str, bytes], list[Frame]], damage: tuple[str, float, int], which: int
) -> None:
    folder, contents, frames = written
    for path in folder.iterdir():
        path.unlink()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    files = sorted(folder.glob("*.log"))
    file = files[min(which, len(files) - 1)]
    what, where, size = damage
    data = file.read_bytes()
    file.write_bytes(damaged(data, what, int(where * len(data)), size))
    again = CommandLog(folder, segment_bytes=SMALL)
    try:
        again.open()
    except LogDamagedError:
        return
    found = heads(again.read(BEGIN))
    again.close()
    assert found == heads(frames)[: len(found)]
    if len(found) < len(frames):
        # It looks as if the last write had been torn: no whole frame is behind the damage.
        end = int(where * len(data)) + {"flip": 1, "insert": 0}.get(what, size)
        assert file == files[-1]
        assert what == "cut" or end > len(data) - len(frames[-1])
