"""A process dies by SIGKILL at every named point of a saga, and the next one finishes what it left."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import warm

from archstone import sagas as _declares_the_points  # noqa: F401 - importing it declares the points
from archstone import world

pytestmark = pytest.mark.slow

CHILD = Path(__file__).parent / "saga_crash_child.py"
FORWARD = [
    ("sagas.after_start", 1),
    *(("sagas.before_begin", n) for n in (1, 3)),
    *(("sagas.after_begin", n) for n in (1, 2)),
    *(("sagas.after_effect", n) for n in (1, 2, 3)),
    ("sagas.before_finish", 1),
    ("sagas.after_finish", 1),
]
BACK = [
    ("sagas.after_begin", 3),
    ("sagas.after_failure", 1),
    *(("sagas.before_undo", n) for n in (1, 2)),
    *(("sagas.after_undo_effect", n) for n in (1, 3)),
    *(("sagas.after_undo", n) for n in (1, 2)),
    ("sagas.before_undone", 1),
]

CANCELLED = [
    ("sagas.before_cancel", 1),
    ("sagas.after_cancel", 1),
    *(("sagas.before_undo", n) for n in (1, 3)),
    *(("sagas.after_undo_effect", n) for n in (1, 3)),
    *(("sagas.after_undo", n) for n in (1, 3)),
    ("sagas.before_undone", 1),
]
TOLD = [
    ("sagas.after_wait", 1),
    ("sagas.after_signal", 1),
    ("sagas.before_take", 2),
    ("sagas.after_take", 1),
]
WOKEN = [
    *(("sagas.after_rest", n) for n in (1, 2)),
    ("sagas.after_signal", 2),
    ("sagas.before_take", 2),
]
KIN = [("sagas.after_child", 1), ("sagas.after_child_end", 1), ("sagas.after_finish", 1)]
KIN_BACK = [
    ("sagas.after_failure", 1),
    ("sagas.after_reopen", 1),
    ("sagas.before_undo", 3),
    ("sagas.after_undo_effect", 4),
    ("sagas.before_undone", 1),
    ("sagas.after_child_end", 2),
]
FORKED = [("sagas.after_fork", 1), ("sagas.after_begin", 4), ("sagas.after_finish", 2)]
LINED = [*(("sagas.after_let_out", n) for n in (1, 2)), ("sagas.after_effect", 2), ("sagas.after_finish", 1)]
ENDINGS = {
    "lined": "all done",
    "fork": "all done",
    "kin third": "all done",
    "kin refused": "Refused('refused')",
    "third": "all done",
    "told": "all done",
    "woken": "all done",
    "refused": "Refused('refused')",
    "busy": "SagaCancelledError('t1', 'ann')",
}


def run(folder: Path, last: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return warm.run([CHILD, folder, last], env={**os.environ, **environment})


def survive(folder: Path, last: str, point: str, passes: int) -> list[str]:
    """Kill a process at a point, run another one, and return what both did outside."""
    killed = run(folder, last, ARCHSTONE_CRASH=f"{point}:{passes}")
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, ""), killed.stderr
    second = run(folder, last)
    assert second.returncode == 0, second.stderr
    assert second.stdout.strip() == ENDINGS[last]
    return (folder / "outside.txt").read_text().splitlines()


def without_repeats(lines: list[str]) -> list[str]:
    return [line for n, line in enumerate(lines) if n == 0 or line != lines[n - 1]]


def test_every_point_of_sagas_is_struck_here():
    declared = {name for name in world.crash_points() if name.startswith("sagas.")}
    shared = {"sagas.after_burial", "sagas.after_claim"}  # in test_sagas_workers_killed
    here = {name for name, _ in FORWARD + BACK + CANCELLED + TOLD + WOKEN + KIN + KIN_BACK + FORKED + LINED}
    assert here == declared - shared


@pytest.mark.parametrize(("point", "passes"), FORWARD)
def test_a_crash_on_the_way_forward_repeats_at_most_one_effect_under_its_key(tmp_path, point, passes):
    lines = survive(tmp_path, "third", point, passes)
    assert without_repeats(lines) == [
        "do first t1/main/outside.do#1",
        "do second t1/main/outside.do#2",
        "do third t1/main/outside.do#3",
    ]
    assert len(lines) <= 4


@pytest.mark.parametrize(("point", "passes"), BACK)
def test_a_crash_on_the_way_back_undoes_everything_in_order_and_repeats_at_most_one_undo(tmp_path, point, passes):
    lines = survive(tmp_path, "refused", point, passes)
    assert without_repeats(lines) == [
        "do first t1/main/outside.do#1",
        "do second t1/main/outside.do#2",
        "do refused t1/main/outside.do#3",
        "undo refused t1/main/outside.do#3/undo",
        "undo second t1/main/outside.do#2/undo",
        "undo first t1/main/outside.do#1/undo",
    ]
    assert len(lines) <= 7


@pytest.mark.parametrize(("point", "passes"), CANCELLED)
def test_a_crash_while_a_saga_is_cancelled_leaves_it_as_it_was_or_undoes_everything(tmp_path, point, passes):
    lines = survive(tmp_path, "busy", point, passes)
    assert without_repeats(lines) == [
        "do first t1/main/outside.do#1",
        "do second t1/main/outside.do#2",
        "do busy t1/main/outside.do#3",
        "undo busy t1/main/outside.do#3/undo",
        "undo second t1/main/outside.do#2/undo",
        "undo first t1/main/outside.do#1/undo",
    ]
    assert len(lines) <= 8


@pytest.mark.parametrize(
    ("how", "point", "passes"), [*(("told", *each) for each in TOLD), *(("woken", *each) for each in WOKEN)]
)
def test_a_crash_around_a_signal_neither_loses_nor_doubles_it(tmp_path, how, point, passes):
    lines = survive(tmp_path, how, point, passes)
    assert without_repeats(lines) == [
        "do first t1/main/outside.do#1",
        "do second t1/main/outside.do#2",
        "do third t1/main/outside.do#3",
    ]
    assert len(lines) <= 4


@pytest.mark.parametrize(("point", "passes"), KIN)
def test_a_crash_between_a_child_and_its_parent_repeats_at_most_one_effect(tmp_path, point, passes):
    lines = survive(tmp_path, "kin third", point, passes)
    assert without_repeats(lines) == [
        "do first bag/main/outside.do#1",
        "do second bag/main/outside.do#2",
        "do third t1/main/outside.do#1",
    ]
    assert len(lines) <= 4


@pytest.mark.parametrize(("point", "passes"), KIN_BACK)
def test_a_crash_while_a_child_is_taken_back_undoes_all_of_it_in_order(tmp_path, point, passes):
    lines = survive(tmp_path, "kin refused", point, passes)
    assert without_repeats(lines) == [
        "do first bag/main/outside.do#1",
        "do second bag/main/outside.do#2",
        "do refused t1/main/outside.do#1",
        "undo refused t1/main/outside.do#1/undo",
        "undo second bag/main/outside.do#2/undo",
        "undo first bag/main/outside.do#1/undo",
    ]
    assert len(lines) <= 7


@pytest.mark.parametrize(("point", "passes"), FORKED)
def test_a_crash_after_a_fork_repeats_nothing_that_was_copied(tmp_path, point, passes):
    lines = survive(tmp_path, "fork", point, passes)
    assert without_repeats(lines) == [
        "do first t1/main/outside.do#1",
        "do second t1/main/outside.do#2",
        "do third t1/main/outside.do#3",
        "do third t2/main/outside.do#3",
    ]
    assert len(lines) <= 5


@pytest.mark.parametrize(("point", "passes"), LINED)
def test_a_crash_leaves_everybody_in_the_queue_in_order(tmp_path, point, passes):
    lines = survive(tmp_path, "lined", point, passes)
    assert without_repeats(lines) == [
        "do first first/main/outside.do#1",
        "do second second/main/outside.do#1",
        "do third third/main/outside.do#1",
    ]
    assert len(lines) <= 4
