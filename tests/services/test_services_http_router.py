"""Which operation a path means."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone.errors import ConfigError
from archstone.services.http import BadRequestError
from archstone.services.http.router import Router


class Spot(NamedTuple):
    name: str
    method: str
    path: str


TABLE = Router(
    [
        Spot("list", "GET", "/orders"),
        Spot("place", "POST", "/orders"),
        Spot("one", "GET", "/orders/{id}"),
        Spot("mine", "GET", "/orders/mine"),
        Spot("cancel", "POST", "/orders/{order_id}/cancel"),
        Spot("special", "GET", "/orders/mine/special"),
        Spot("any", "GET", "/{what}/x/{which}"),
    ]
)


def found(method: str, path: str) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
    match = TABLE.find(path.encode("latin-1"))
    if match is None:
        return None
    endpoint, names = match.resource.endpoints[method]
    return endpoint.name, names, match.values


@pytest.mark.parametrize(
    ("method", "path", "name", "values"),
    [
        ("GET", "/orders", "list", ()),
        ("POST", "/orders", "place", ()),
        ("HEAD", "/orders", "list", ()),
        ("GET", "/orders/7", "one", ("7",)),
        ("GET", "/orders/mine", "mine", ()),
        ("GET", "/orders/%6Dine", "mine", ()),
        ("POST", "/orders/mine/cancel", "cancel", ("mine",)),
        ("GET", "/orders/mine/special", "special", ()),
        ("GET", "/orders/x/7", "any", ("orders", "7")),
        ("GET", "/orders/a%2Fb", "one", ("a/b",)),
        ("GET", "/orders/%25", "one", ("%",)),
        ("GET", "/orders/%C3%BC", "one", ("ü",)),
        ("GET", "/orders/..", "one", ("..",)),
    ],
)
def test_a_path_means_one_operation(method: str, path: str, name: str, values: tuple[str, ...]) -> None:
    match = found(method, path)
    assert match is not None
    assert (match[0], match[2]) == (name, values)
    assert len(match[1]) == len(values)


@pytest.mark.parametrize("path", ["", "/", "/order", "/orders/", "/orders//cancel", "/orders/7/cancel/", "/" * 1000])
def test_any_other_path_means_nothing(path: str) -> None:
    assert TABLE.find(path.encode()) is None


@pytest.mark.parametrize("segment", ["%", "%1", "%zz", "%%41", "%ff", "\xff"])
def test_a_path_that_cannot_be_decoded_is_refused(segment: str) -> None:
    with pytest.raises(BadRequestError, match="path"):
        TABLE.find(f"/orders/{segment}".encode("latin-1"))


def test_every_clash_is_told_at_once() -> None:
    spots = [Spot("a", "GET", "/x/{p}"), Spot("b", "GET", "/x/{q}"), Spot("c", "PUT", "/y"), Spot("d", "PUT", "/y")]
    with pytest.raises(ConfigError, match=r"a and b both claim GET /x/\{q\}.*; c and d both claim PUT /y"):
        Router(spots)


segments = st.sampled_from(["a", "b", "{p}"])
shapes = st.lists(segments, min_size=1, max_size=3).map(tuple)


def meant(table: frozenset[tuple[str, ...]], path: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the shape that a path means: of those that fit, the one whose first difference is a literal."""
    fitting = [
        shape
        for shape in table
        if len(shape) == len(path) and all(mine in (theirs, "{p}") for mine, theirs in zip(shape, path, strict=True))
    ]
    return min(fitting, key=lambda shape: [each == "{p}" for each in shape], default=None)


@given(table=st.frozensets(shapes, min_size=1, max_size=12), path=shapes)
def test_the_table_finds_what_a_search_through_all_shapes_finds(
    table: frozenset[tuple[str, ...]], path: tuple[str, ...]
) -> None:
    path = tuple("c" if each == "{p}" else each for each in path)
    router = Router([Spot("/".join(shape), "GET", "/" + "/".join(shape)) for shape in sorted(table)])
    # An escape changes how a path is looked up, not what it means.
    for written in ("/" + "/".join(path), "/" + "/".join(path).replace("a", "%61")):
        match = router.find(written.encode())
        shape = meant(table, path)
        assert (match and match.resource.endpoints["GET"][0].name) == (shape and "/".join(shape))
        if match is not None and shape is not None:
            assert match.values == tuple(each for each, hole in zip(path, shape, strict=True) if hole == "{p}")
