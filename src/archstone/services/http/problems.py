"""Errors as RFC 9457 problem documents: a stable `type`, words for people, facts for programs.

Promise: whatever is raised becomes a document; a stack trace, a file name or the text of an unexpected error never
reaches it. `type` is `urn:archstone:error:<code>`; the code leads to a page of the documentation. A declared error
carries its constructor's arguments under `args`, a refused request every fault under `errors`.
"""

import math
from functools import lru_cache
from typing import Final, cast

from pydantic_core import to_json

from archstone.errors import ArchstoneError, BackendError, DomainError
from archstone.observability import get_logger
from archstone.services.errors import NotSignedInError
from archstone.services.http.asgi import Response
from archstone.services.operation import Operation

__all__ = ["PROBLEM_JSON", "TYPE_PREFIX", "problem", "refusal", "title_of"]

PROBLEM_JSON: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:archstone:error:"

_TEXT_LIMIT: Final = 1000
_FAULT_LIMIT: Final = 300
_UNEXPECTED: Final = "The request failed in a way that nobody foresaw. It may have taken effect. Quote the instance."
_STATUSES_THAT_CLOSE: Final = frozenset({408, 413, 431})
_log = get_logger(__name__)


def problem(error: Exception, *, instance: str, operation: Operation | None = None, frank: bool = False) -> Response:
    """Return the answer that tells `error`.

    Args:
        error: What was raised.
        instance: The id of the request.
        operation: The one that raised it, if it came so far.
        frank: Tell the text of failures inside as well (files, servers): between services of one system only.
    """
    known = error if isinstance(error, ArchstoneError) else None
    status = 500 if known is None else known.status
    document: dict[str, object] = {
        "type": TYPE_PREFIX + ("archstone.remote" if known is None else known.code),
        "title": title_of(type(error)) if known is not None else "The other side failed",
        "status": status,
        "instance": instance,
    }
    if detail := _detail(known, frank=frank):
        document["detail"] = detail
    headers = [(b"content-type", PROBLEM_JSON), (b"cache-control", b"no-store")]
    if known is not None:
        document.update(_facts(known, operation))
        headers += _extra_headers(known, status)
    return Response(status, headers, to_json(document))


@lru_cache(maxsize=1024)
def title_of(error: type[Exception]) -> str:
    """Return the first sentence of what the class says of itself: the same for each occurrence."""
    first = (error.__doc__ or "").strip().partition("\n")[0]
    return first.partition(". ")[0].removesuffix(".") or error.__name__


def _detail(error: ArchstoneError | None, *, frank: bool) -> str:
    """Return the text of an error, unless it talks about what is inside: files, servers, other people's code."""
    if error is None:
        return _UNEXPECTED
    if not frank and (type(error).status == 500 or isinstance(error, BackendError)):
        return _UNEXPECTED if not isinstance(error, DomainError) else str(error)[:_TEXT_LIMIT]
    return str(error)[:_TEXT_LIMIT]


def _facts(error: ArchstoneError, operation: Operation | None) -> dict[str, object]:
    facts: dict[str, object] = {}
    if isinstance(error, DomainError) and operation is not None and operation.declares(error):
        facts["args"] = operation.error_members(error)
    faults = getattr(error, "faults", None)
    if isinstance(faults, tuple):
        pairs = cast("tuple[tuple[str, str], ...]", faults)
        facts["errors"] = [{"where": where[:_FAULT_LIMIT], "what": what[:_FAULT_LIMIT]} for where, what in pairs]
    retry_after_s = getattr(error, "retry_after_s", None)
    if isinstance(retry_after_s, int | float):
        facts["retry_after_s"] = round(retry_after_s, 3)
    return facts


def _extra_headers(error: ArchstoneError, status: int) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    retry_after_s = getattr(error, "retry_after_s", None)
    if isinstance(retry_after_s, int | float):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))))
    if status == 401:
        # RFC 6750: who sent no token is told what is wanted, who sent a bad one that it is bad.
        bare = isinstance(error, NotSignedInError)
        headers.append((b"www-authenticate", b"Bearer" if bare else b'Bearer error="invalid_token"'))
    elif isinstance(challenge := getattr(error, "challenge", None), str):
        headers.append((b"www-authenticate", challenge.encode()))
    if isinstance(allow := getattr(error, "allow", None), str):
        headers.append((b"allow", allow.encode()))
    if status in _STATUSES_THAT_CLOSE:
        # The rest of the request may still be under way; on this connection it could not be told from the next one.
        headers.append((b"connection", b"close"))
    return headers


def refusal(error: Exception, *, instance: str, operation: Operation | None, frank: bool) -> Response:
    """Return the problem document of `error`; what nobody foresaw goes to the log first, with its traceback."""
    if not isinstance(error, ArchstoneError):
        name = None if operation is None else operation.full_name
        _log.error("a request failed", operation=name, instance=instance, exc_info=error)
    return problem(error, instance=instance, operation=operation, frank=frank)
