"""One operation as it is served: its whole path, and everything about its answer that never changes."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from archstone.errors import RemoteError
from archstone.observability import get_logger
from archstone.services.http.asgi import Scope
from archstone.services.operation import Operation, Transport

__all__ = ["Match", "Route", "raw_path_of"]

_NO_CONTENT: Final = 204
_PATH_SAFE: Final = "/:@!$&'()*+,;=-._~"
_log = get_logger(__name__)


class Route:
    """An operation, its transport, and its place among the paths."""

    __slots__ = ("_encode", "method", "name", "operation", "path", "query", "span_name", "success_headers", "transport")

    def __init__(self, operation: Operation, transport: Transport, prefix: str) -> None:
        self.operation = operation
        self.transport = transport
        self.name = operation.full_name
        self._encode = operation.codec.result.encode
        self.method = operation.method
        self.path = prefix + operation.path
        self.span_name = f"{operation.method} {self.path}"
        self.query = operation.kind == "query"
        # What somebody signed in may see is nobody else's to keep; the tag lets its own reader ask again cheaply.
        # The answer to a command is kept by nobody as it is; one that holds a secret (record=False) says so as well.
        self.success_headers = [] if operation.status == _NO_CONTENT else [(b"content-type", b"application/json")]
        if self.query:
            self.success_headers.append((b"cache-control", b"private, no-cache"))
        elif not operation.record:
            self.success_headers.append((b"cache-control", b"no-store"))

    def encode(self, result: object) -> bytes:
        """Return the body for a result.

        Raises:
            RemoteError: it has not the type that the contract says. The call has taken effect.
        """
        if self.operation.status == _NO_CONTENT:
            return b""
        try:
            return self._encode(result)
        except ValueError as error:
            _log.exception("a result breaks its contract", operation=self.name)
            raise RemoteError(f"{self.name}: the result breaks the contract; the log says how") from error


class Match(NamedTuple):
    """A route and the decoded parameters of the path that led to it."""

    route: Route
    path: Mapping[str, str]


def raw_path_of(scope: Scope) -> bytes:
    """Return the undecoded path below the point where this application is mounted."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:  # optional in ASGI; a slash that was encoded cannot be told from one that was not
        raw = quote(scope["path"], safe=_PATH_SAFE).encode()
    root: str = scope.get("root_path", "")
    if root:
        raw = raw.removeprefix(quote(root, safe=_PATH_SAFE).encode())
    return raw
