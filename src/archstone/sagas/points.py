"""The crash points of a saga: every moment at which what is on disk changes."""

from typing import Final

from archstone.world import declare_point

__all__ = [
    "AFTER_BEGIN",
    "AFTER_BURIAL",
    "AFTER_CANCEL",
    "AFTER_CHILD",
    "AFTER_CHILD_END",
    "AFTER_CLAIM",
    "AFTER_EFFECT",
    "AFTER_FAILURE",
    "AFTER_FINISH",
    "AFTER_FORK",
    "AFTER_LET_OUT",
    "AFTER_REOPEN",
    "AFTER_REST",
    "AFTER_SIGNAL",
    "AFTER_START",
    "AFTER_TAKE",
    "AFTER_UNDO",
    "AFTER_UNDO_EFFECT",
    "AFTER_WAIT",
    "BEFORE_BEGIN",
    "BEFORE_CANCEL",
    "BEFORE_FINISH",
    "BEFORE_TAKE",
    "BEFORE_UNDO",
    "BEFORE_UNDONE",
]

AFTER_START: Final = declare_point("sagas.after_start", "the saga is on disk, its body has not run")
BEFORE_BEGIN: Final = declare_point("sagas.before_begin", "nothing of this step is on disk, nor the last answer")
AFTER_BEGIN: Final = declare_point("sagas.after_begin", "the step and its undo are on disk, its effect is not made")
AFTER_EFFECT: Final = declare_point("sagas.after_effect", "the effect is made, its answer is not on disk")
BEFORE_FINISH: Final = declare_point("sagas.before_finish", "every step is answered, the end is not on disk")
AFTER_FINISH: Final = declare_point("sagas.after_finish", "the saga is done on disk, nobody has been told")
BEFORE_CANCEL: Final = declare_point(
    "sagas.before_cancel", "a saga is held back, nothing on disk says that it is cancelled"
)
AFTER_CANCEL: Final = declare_point("sagas.after_cancel", "that it is cancelled is on disk, nothing is undone")
AFTER_FAILURE: Final = declare_point("sagas.after_failure", "the failure is on disk, nothing is undone")
BEFORE_UNDO: Final = declare_point("sagas.before_undo", "an undo is due, its effect is not made")
AFTER_UNDO_EFFECT: Final = declare_point("sagas.after_undo_effect", "an undo is made, the journal does not know")
AFTER_UNDO: Final = declare_point("sagas.after_undo", "an undo is made and on disk, others may be due")
BEFORE_UNDONE: Final = declare_point("sagas.before_undone", "everything is undone on disk, the saga has not failed yet")
AFTER_WAIT: Final = declare_point("sagas.after_wait", "that the saga waits for a signal is on disk, it has none")
AFTER_SIGNAL: Final = declare_point("sagas.after_signal", "a signal is on disk, its saga has not been told")
BEFORE_TAKE: Final = declare_point("sagas.before_take", "a saga has seen its signal, that it has it is not on disk")
AFTER_TAKE: Final = declare_point("sagas.after_take", "that the saga has its signal is on disk, its body does not know")
AFTER_REST: Final = declare_point("sagas.after_rest", "a saga that waits is asleep on disk, and still in memory")
AFTER_CHILD: Final = declare_point("sagas.after_child", "a child is on disk with the step that waits for it")
AFTER_CHILD_END: Final = declare_point("sagas.after_child_end", "the end of a child is on disk, its parent is not told")
AFTER_REOPEN: Final = declare_point("sagas.after_reopen", "that a child which was done goes back is on disk")
AFTER_FORK: Final = declare_point("sagas.after_fork", "a fork is on disk, its body has not run, nobody has been told")
AFTER_BURIAL: Final = declare_point("sagas.after_burial", "the sagas of a dead worker are nobody's, none runs")
AFTER_CLAIM: Final = declare_point("sagas.after_claim", "sagas are this worker's on disk, none of them runs")
AFTER_LET_OUT: Final = declare_point("sagas.after_let_out", "sagas have left their queue on disk, none of them runs")
