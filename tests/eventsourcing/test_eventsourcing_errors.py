"""Errors say which thing, what happened, and what to do, and survive the way to another process."""

import pickle

import pytest

from archstone.errors import ArchstoneError
from archstone.eventsourcing import (
    ErasedPersonError,
    EventUnreadableError,
    HandlerError,
    NewerEventError,
    NoStreamError,
    ProjectionBehindError,
    ProjectionFailedError,
    ProjectionMovedError,
    StreamConflictError,
)

ERRORS: list[tuple[ArchstoneError, str]] = [
    (ErasedPersonError("ann"), "person 'ann' was erased: nothing personal can be stored about them"),
    (EventUnreadableError("user/1", 2, "users.named version 1", "name: Field required"), "event 2 of stream 'user/1'"),
    (HandlerError("User", "has no name"), "User: has no name"),
    (NewerEventError("users.named", 3, 2), "event users.named is stored with version 3, this release knows up to 2"),
    (NoStreamError("user/1"), "there is no stream 'user/1'"),
    (ProjectionBehindError("names v1", 256, 512, 1.5, "boom"), "was not reached in 1.5 s: it fails with boom"),
    (ProjectionFailedError("names v1", 256, "users.named (user/1 number 2)", "boom"), "failed at position 256"),
    (ProjectionMovedError("names v1", 256), "projection names v1 is not at position 256 any more: it was rewound"),
    (StreamConflictError("user/1", 3, 4), "stream 'user/1' has 4 events, 3 were expected"),
]


@pytest.mark.parametrize(("error", "says"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_an_error_says_what_happened_and_can_be_sent_elsewhere(error: ArchstoneError, says: str):
    assert says in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
    assert error.code.startswith("eventsourcing.")
