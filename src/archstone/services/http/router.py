"""Find the operation that a path means, in one dictionary look-up where the path holds no parameter.

Promise: literal segments win over parameters; a percent-encoded slash stays inside its segment; two operations that
claim the same method and path are refused when the table is built, all of them at once.
"""

from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

from archstone.context import new_tuple
from archstone.errors import ConfigError
from archstone.services.http.errors import BadRequestError

__all__ = ["Endpoint", "Found", "Resource", "Router", "percent_decode"]


class Endpoint(Protocol):
    """What the router needs to know of a route."""

    @property
    def name(self) -> str:
        """What errors call it: `Inventory.reserve`."""
        ...

    @property
    def method(self) -> str:
        """The HTTP method, upper case."""
        ...

    @property
    def path(self) -> str:
        """The path with its parameters in braces, prefix included: `/api/v1/stock/{sku}`."""
        ...


E = TypeVar("E", bound=Endpoint)


class Resource(Generic[E]):
    """All the methods of one path shape, each with the names of its path parameters."""

    __slots__ = ("allow", "endpoints")

    def __init__(self) -> None:
        self.endpoints: dict[str, tuple[E, tuple[str, ...]]] = {}
        self.allow = b""

    def put(self, endpoint: E, names: tuple[str, ...]) -> None:
        """Add an endpoint; one that answers GET answers HEAD as well."""
        self.endpoints[endpoint.method] = (endpoint, names)
        if endpoint.method == "GET":
            self.endpoints["HEAD"] = (endpoint, names)
        self.allow = ", ".join(sorted(self.endpoints)).encode()


class Found(NamedTuple, Generic[E]):
    """A path that exists, and the decoded values of its parameters, in order."""

    resource: Resource[E]
    values: tuple[str, ...]


class _Node(Generic[E]):
    __slots__ = ("literals", "parameter", "resource")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[E]] = {}
        self.parameter: _Node[E] | None = None
        self.resource: Resource[E] | None = None

    def find(self, segments: list[str], at: int, values: tuple[str, ...]) -> Found[E] | None:
        """Return what the segments from `at` on mean below this node; literals first."""
        node = self
        for each in range(at, len(segments)):
            segment = segments[each]
            below, parameter = node.literals.get(segment), node.parameter if segment else None
            if below is None:
                if parameter is None:
                    return None
                node, values = parameter, (*values, segment)
            elif parameter is None:
                node = below
            elif (found := below.find(segments, each + 1, values)) is not None:
                return found
            else:
                node, values = parameter, (*values, segment)
        return None if node.resource is None else Found(node.resource, values)


class Router(Generic[E]):
    """The table of all routes, built once."""

    def __init__(self, endpoints: Iterable[E]) -> None:
        self._root: _Node[E] = _Node()
        self._literal: dict[bytes, Found[E]] = {}
        self._last: dict[bytes, Resource[E]] = {}
        """By what stands before it, the resource of a path whose one parameter is its last segment."""
        self._depth = 0
        clashes = [clash for endpoint in endpoints if (clash := self._add(endpoint))]
        if clashes:
            raise ConfigError("; ".join(clashes))

    def _add(self, endpoint: E) -> str | None:
        segments = endpoint.path.split("/")
        names = tuple(segment[1:-1] for segment in segments if segment.startswith("{"))
        node = self._root
        for segment in segments:
            node = _child(node, segment)
        resource = node.resource = node.resource or Resource()
        taken = resource.endpoints.get(endpoint.method)
        if taken is not None:
            where = f"{endpoint.method} {endpoint.path}"
            return f"{taken[0].name} and {endpoint.name} both claim {where}: change one path or drop one operation"
        resource.put(endpoint, names)
        self._depth = max(self._depth, len(segments))
        if not names:
            self._literal[endpoint.path.encode()] = Found(resource, ())
        elif len(names) == 1 and segments[-1].startswith("{"):
            self._last[endpoint.path.rpartition("/")[0].encode()] = resource
        return None

    def find(self, raw_path: bytes) -> Found[E] | None:
        """Return the resource of an undecoded path, None if there is none; BadRequestError if it cannot be decoded."""
        found = self._literal.get(raw_path)
        if found is not None:
            return found
        if b"%" not in raw_path:
            # Literals win over parameters, and the path is none of those above: so this is what the tree would find.
            before, _, last = raw_path.rpartition(b"/")
            if last and (resource := self._last.get(before)) is not None:
                return new_tuple(Found, (resource, (percent_decode(last, "path"),)))
        if raw_path.count(b"/") >= self._depth:
            return None
        if b"%" in raw_path:
            # Apart first, decoded then: an encoded slash stays inside its segment.
            return self._root.find([percent_decode(segment, "path") for segment in raw_path.split(b"/")], 0, ())
        return self._root.find(percent_decode(raw_path, "path").split("/"), 0, ())


def _child(node: _Node[E], segment: str) -> _Node[E]:
    if not segment.startswith("{"):
        return node.literals.setdefault(segment, _Node())
    node.parameter = node.parameter or _Node()
    return node.parameter


def percent_decode(raw: bytes, where: str) -> str:
    """Return the text of percent-encoded bytes.

    Raises:
        BadRequestError: a `%` is not followed by two hex digits, or the bytes are not UTF-8.
    """
    try:
        if b"%" not in raw:
            return raw.decode()
        decoded = unquote_to_bytes(raw)
        # unquote leaves a broken escape as it stands; every good one takes away two bytes.
        if len(raw) - len(decoded) != 2 * raw.count(b"%"):
            raise BadRequestError(where, "holds a % that no two hex digits follow; write %25 for a percent sign")
        return decoded.decode()
    except UnicodeDecodeError:
        raise BadRequestError(where, "is not UTF-8 once its percent escapes are decoded") from None
