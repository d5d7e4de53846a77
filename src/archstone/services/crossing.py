"""Which errors leave a service, and in what form: the same in one process and between two.

A declared error crosses as itself, and so does what the call itself came to: not signed in, invalid, key reused. What
happened inside is told by its branch: try later (RejectedError), too late (DeadlineError), a backend failed
(BackendError). Anything else is a RemoteError: the caller can do nothing about it but hand on its reference, under
which the log of the service has the traceback.
"""

from typing import Any, Final, cast

from pydantic_core import from_json, to_json

from archstone import world
from archstone.errors import ArchstoneError, BackendError, DeadlineError, DomainError, RejectedError, RemoteError
from archstone.observability import get_logger
from archstone.services.errors import (
    ForbiddenError,
    KeyMissingError,
    KeyReusedError,
    NotSignedInError,
    RequestInvalidError,
    StillRunningError,
)
from archstone.services.operation import Operation

__all__ = ["crossing", "decode_failure", "encode_failure"]

_log = get_logger("archstone.services")

_OWN: Final[dict[str, type[ArchstoneError]]] = {
    kind.code: kind
    for kind in (
        ForbiddenError, KeyMissingError, KeyReusedError, NotSignedInError, RequestInvalidError, StillRunningError
    )
}  # fmt: skip
_BRANCHES: Final[dict[str, type[ArchstoneError]]] = {
    kind.code: kind for kind in (BackendError, DeadlineError, RejectedError, RemoteError)
}


def crossing(operation: Operation, error: Exception) -> ArchstoneError:
    """Return the error that the caller of `operation` sees when its body raised `error`; log what it hides."""
    if isinstance(error, DomainError) and operation.declares(error):
        return error
    name = operation.full_name
    if isinstance(error, RejectedError):
        told = f"{name}: refused inside ({error.code}), not done: try again in {error.retry_after_s:g} s"
        refused = RejectedError(told)
        refused.retry_after_s = error.retry_after_s
        return refused
    if isinstance(error, DeadlineError):
        return DeadlineError(f"{name}: not done before its deadline; it may have taken effect: allow more time")
    reference = world.new_id()
    if isinstance(error, BackendError):
        _log.error("a backend of an operation failed", operation=name, reference=reference, exc_info=error)
        return BackendError(f"{name}: a backend of the service failed: see {reference} in its log, try again later")
    _log.error("an operation failed unexpectedly", operation=name, reference=reference, exc_info=error)
    told = f"{name}: failed in a way that its contract does not declare; it may have taken effect"
    return RemoteError(f"{told}: see {reference} in the log of the service")


def encode_failure(operation: Operation, error: ArchstoneError) -> bytes:
    """Return the JSON of an error that crosses."""
    if isinstance(error, DomainError):
        return b'{"code":%b,"args":%b}' % (to_json(error.code), operation.encode_error(error))
    if type(error) in _OWN.values():
        return to_json({"code": error.code, "args": error.args})
    kind = next((kind for kind in _BRANCHES.values() if isinstance(error, kind)), RemoteError)
    return to_json({"code": kind.code, "args": [str(error)], "retry_after_s": getattr(error, "retry_after_s", None)})


def decode_failure(operation: Operation, encoded: bytes) -> ArchstoneError:
    """Return the error that `encode_failure` made into bytes."""
    found: dict[str, Any] = from_json(encoded)
    code: str = found["code"]
    if code in operation.codec.errors:
        return operation.decode_error(code, to_json(found["args"]))
    if code in _OWN:
        return _OWN[code](*cast("tuple[object, ...]", _tuples(found["args"])))
    error = _BRANCHES.get(code, RemoteError)(*found["args"])
    if isinstance(error, RejectedError):
        error.retry_after_s = found["retry_after_s"]
    return error


def _tuples(value: object) -> object:
    return tuple(map(_tuples, cast("list[object]", value))) if isinstance(value, list) else value
