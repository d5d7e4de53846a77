"""Turn a problem document back into the error that it tells.

Promise: an error that the operation declares comes back as itself; a refusal comes back as the class that an
in-process call raises, or as the branch it belongs to; whatever else was answered is a RemoteError.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from pydantic_core import from_json, to_json

from archstone.errors import (
    ArchstoneError,
    BackendError,
    ConflictError,
    DeadlineError,
    DeniedError,
    InvalidError,
    NotFoundError,
    RejectedError,
    RemoteError,
)
from archstone.services.errors import (
    ForbiddenError,
    KeyMissingError,
    KeyReusedError,
    NotSignedInError,
    RequestInvalidError,
    StillRunningError,
)
from archstone.services.http.errors import AnswerError, RouteError
from archstone.services.http.problems import TYPE_PREFIX
from archstone.services.operation import Operation

__all__ = ["Answer", "error_of", "result_of"]


class Answer(NamedTuple):
    """Status and body of one answer. The headers are not kept: these two say all that a contract says."""

    status: int
    body: bytes


class _Told(NamedTuple):
    """A problem document, and the call that it answers."""

    operation: Operation
    key: str
    status: int
    document: dict[str, Any]

    @property
    def detail(self) -> str:
        return str(self.document.get("detail") or self.document.get("title") or "no detail given")

    @property
    def retry_after_s(self) -> float:
        given = self.document.get("retry_after_s")
        return float(given) if isinstance(given, int | float) else 1.0


def _faults(told: _Told) -> tuple[tuple[str, str], ...]:
    faults = cast("list[dict[str, object]]", told.document.get("errors") or [])
    return tuple((str(fault.get("where")), str(fault.get("what"))) for fault in faults)


_REFUSALS: Final[dict[str, Callable[[_Told], ArchstoneError]]] = {
    RequestInvalidError.code: lambda told: RequestInvalidError(told.operation.full_name, _faults(told)),
    KeyMissingError.code: lambda told: KeyMissingError(told.operation.full_name),
    KeyReusedError.code: lambda told: KeyReusedError(told.operation.full_name, told.key),
    StillRunningError.code: lambda told: StillRunningError(told.operation.full_name, told.key, told.retry_after_s),
    NotSignedInError.code: lambda told: NotSignedInError(told.operation.full_name),
    ForbiddenError.code: lambda told: ForbiddenError(told.operation.full_name, told.operation.requires),
    RemoteError.code: lambda told: RemoteError(told.detail),
    BackendError.code: lambda told: BackendError(told.detail),
    # The operation is not served there: a mistake in the wiring, not a thing that does not exist.
    RouteError.code: lambda told: AnswerError(told.operation.full_name, told.status, "no such route"),
}
_BRANCHES: Final[dict[int, type[ArchstoneError]]] = {
    400: InvalidError,
    401: DeniedError,
    403: DeniedError,
    404: NotFoundError,
    408: InvalidError,
    409: ConflictError,
    413: InvalidError,
    415: InvalidError,
    422: InvalidError,
    429: RejectedError,
    431: InvalidError,
    503: RejectedError,
    504: DeadlineError,
}


def result_of(answer: Answer, operation: Operation, key: str | None) -> object:
    """Return the result that an answer holds, or raise the error that it tells."""
    if answer.status != operation.status:
        raise error_of(answer, operation, key)
    if answer.status == 204:
        return None
    try:
        return operation.decode_result(answer.body)
    except ValueError as error:
        raise AnswerError(operation.full_name, answer.status, "not what the contract says") from error


def error_of(answer: Answer, operation: Operation, key: str | None) -> ArchstoneError:
    """Return the error that an answer of another status than success tells."""
    try:
        parsed = from_json(answer.body)
    except ValueError:
        return AnswerError(operation.full_name, answer.status, "not a problem document")
    document = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
    if not str(document.get("type", "")).startswith(TYPE_PREFIX):
        return AnswerError(operation.full_name, answer.status, "not a problem document of ours")
    told = _Told(operation, key or "", answer.status, document)
    code = str(document["type"]).removeprefix(TYPE_PREFIX)
    if code in operation.codec.errors:
        return _declared(told, code)
    if (refusal := _REFUSALS.get(code)) is not None:
        return refusal(told)
    return _branch(told)


def _declared(told: _Told, code: str) -> ArchstoneError:
    """Build the declared error again: from its named arguments, or from its text if it has no constructor."""
    codec = told.operation.codec.errors[code]
    named = told.document.get("args")
    if codec.fields:
        facts = cast("dict[str, object]", named) if isinstance(named, dict) else {}
        arguments = [facts.get(name) for name, _ in codec.fields]
    else:
        arguments = [told.document["detail"]] if "detail" in told.document else []
    try:
        return codec.decode(to_json(arguments))
    except ValueError:
        return AnswerError(told.operation.full_name, told.status, f"a broken {code}")


def _branch(told: _Told) -> ArchstoneError:
    branch = _BRANCHES.get(told.status)
    if branch is RejectedError and "retry_after_s" not in told.document:
        branch = BackendError  # both are 503; only who refuses on purpose says when to come again
    if branch is None:
        return AnswerError(told.operation.full_name, told.status, told.detail)
    error = branch(told.detail)
    if isinstance(error, RejectedError):
        error.retry_after_s = told.retry_after_s
    return error
