"""The moments at which a process can die between an effect and its answer."""

from typing import Final

from archstone import world

__all__ = ["AFTER_COMMIT", "AFTER_HANDLED", "AFTER_ROLLBACK", "BEFORE_RECORD"]

BEFORE_RECORD: Final = world.declare_point(
    "services.after_effect_before_record",
    "the statements of a command have run, its key and answer are not written, nothing of it is on disk",
)
AFTER_COMMIT: Final = world.declare_point(
    "services.after_commit_before_answer", "effect, key and answer are on disk, the caller has not been answered"
)
AFTER_ROLLBACK: Final = world.declare_point(
    "services.after_rollback_before_record",
    "a command ended in a declared error, its effect is rolled back, the error is not recorded with the key",
)
AFTER_HANDLED: Final = world.declare_point(
    "services.after_handled_before_settle",
    "an event's effect and its inbox row are on disk, the bus does not know that it has been handled",
)
