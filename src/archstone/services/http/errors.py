"""What can be wrong with a request before an operation sees it, and with a connection before an answer comes."""

from archstone.errors import ArchstoneError, BackendError, InvalidError, NotFoundError, RejectedError, RemoteError

__all__ = [
    "AnswerError",
    "BadRequestError",
    "BodyLateError",
    "BodyTooLargeError",
    "ClientGoneError",
    "ContentTypeError",
    "HeadersTooLargeError",
    "MethodError",
    "PoolFullError",
    "RouteError",
    "UnreachableError",
]


class BadRequestError(InvalidError, code="http.bad-request", status=400):
    """A header, the path or the query string cannot be read."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where, what)
        self.where = where
        self.what = what

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """The one fault, in the form that validation errors have."""
        return ((self.where, self.what),)

    def __str__(self) -> str:
        return f"{self.where} {self.what}"


class RouteError(NotFoundError, code="http.no-such-route"):
    """Nothing is served under this path."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"nothing is served under {self.path!r}: /openapi.json lists what is"


class MethodError(InvalidError, code="http.method-not-allowed", status=405):
    """The path exists, but not with this method."""

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(method, allow)
        self.method = method
        self.allow = allow

    def __str__(self) -> str:
        return f"this path does not take {self.method}: it takes {self.allow}"


class BodyTooLargeError(InvalidError, code="http.body-too-large", status=413):
    """The body is longer than this application reads."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"the body is longer than {self.limit_bytes} bytes: send less at once"


class BodyLateError(InvalidError, code="http.body-late", status=408):
    """The body did not arrive in time."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)
        self.limit_s = limit_s

    def __str__(self) -> str:
        return f"the body did not arrive whole within {self.limit_s:g} s: nothing was done, send it again"


class ClientGoneError(ArchstoneError, code="http.client-gone", status=499):
    """The client closed the connection: nobody waits for an answer, and none is sent."""

    def __str__(self) -> str:
        return "the client hung up before the answer: a query was cancelled, a command runs on; nothing to do"


class ContentTypeError(InvalidError, code="http.content-type", status=415):
    """The body is not declared as JSON."""

    def __init__(self, content_type: str) -> None:
        super().__init__(content_type)
        self.content_type = content_type

    def __str__(self) -> str:
        return f"the body is declared as {self.content_type!r}: send JSON with Content-Type: application/json"


class HeadersTooLargeError(InvalidError, code="http.headers-too-large", status=431):
    """The headers are longer, or more, than this application reads."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"the headers take {self.size_bytes} bytes, the limit is {self.limit_bytes}: send fewer or shorter ones"


class UnreachableError(BackendError, code="http.unreachable"):
    """No connection, or it was lost before an answer came."""

    def __init__(self, address: str, why: str, *, sent: bool = False) -> None:
        super().__init__(address, why)
        self.address = address
        self.why = why
        self.sent = sent

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.address, self.why), {"sent": self.sent})

    def __str__(self) -> str:
        effect = "it may have taken effect" if self.sent else "nothing was sent"
        return f"{self.address} could not be reached ({self.why}): {effect}; see whether the service runs"


class AnswerError(RemoteError, code="http.answer"):
    """The other side answered with something that the contract does not declare."""

    def __init__(self, operation: str, status: int, what: str) -> None:
        super().__init__(operation, status, what)
        self.operation = operation
        self.answer_status = status
        self.what = what

    def __str__(self) -> str:
        return (
            f"{self.operation}: answered {self.answer_status}, {self.what}; it may have taken effect: "
            "look into the log of the other side"
        )


class PoolFullError(RejectedError, code="http.pool-full"):
    """Every connection is in use and as many callers wait as may."""

    def __init__(self, address: str, connections: int, waiting: int) -> None:
        super().__init__(address, connections, waiting)
        self.address = address
        self.connections = connections
        self.waiting = waiting
        self.retry_after_s = 0.1

    def __str__(self) -> str:
        return (
            f"all {self.connections} connections to {self.address} are in use and {self.waiting} callers wait: "
            f"call not made, try again in {self.retry_after_s:g} s"
        )
