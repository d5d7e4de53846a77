"""What a contract refuses when its class is made, and what its codecs do."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, NamedTuple, NewType, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Base64Bytes, BaseModel, SecretStr

from archstone.errors import ConfigError, DomainError
from archstone.services import ANYONE, Contract, RequestInvalidError, command, operations, query

T = TypeVar("T")


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Page(Generic[T]):
    items: tuple[T, ...]


@dataclass(frozen=True)
class Leaky:
    names: list[str]


class Loose(BaseModel):
    name: str


class Tree(BaseModel, frozen=True):
    name: str
    children: "tuple[Tree, ...]" = ()


Name = NewType("Name", str)


class Everything(Contract, version="2.1"):
    """Whatever may cross."""

    @query("/pages/{name}", requires=ANYONE)
    async def page(self, name: Name, at: Point | None = None) -> Page[Tree]: ...

    @command("/blobs/{name}", method="PUT", requires=ANYONE)
    async def blob(self, name: str, data: Base64Bytes, tags: frozenset[tuple[str, int]], page: Page[int]) -> None:
        """Keep a blob.

        It stays.
        """
        ...


PAGE, BLOB = operations(Everything)


def made(annotation: object, default: object = None) -> None:
    """Make a contract with one command that takes the type."""

    async def take(self: object, value: object) -> None: ...

    take.__annotations__["value"] = annotation
    type("Made", (Contract,), {"take": command("/take")(take)}, version="1.0")


@pytest.mark.parametrize(
    ("annotation", "instead"),
    [
        (list[int], "use tuple[X, ...]"),
        (tuple[set[int], ...], "use frozenset[X]"),
        (dict[str, int], "use tuple[tuple[K, V], ...] or a frozen model"),
        (bytes, "use pydantic.Base64Bytes"),
        (SecretStr, "asterisks"),
        (Loose, "frozen=True"),
        (Leaky, "Leaky.names: list[str] cannot cross"),
        (Page[list[int]], "Page.items: list[int] cannot cross"),
        (object, "name a type"),
        (tuple, "name a type"),
        (Annotated[list[int] | None, "x"], "use tuple[X, ...]"),
    ],
)
def test_a_mutable_type_is_refused_with_the_type_to_use_instead(annotation: object, instead: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(annotation)
    assert instead in str(caught.value)
    assert "Made.take, argument value" in str(caught.value)


@pytest.mark.parametrize("annotation", [Tree, Page[Tree], Point, Name, Base64Bytes, tuple[int, str], frozenset[str]])
def test_an_immutable_type_is_accepted(annotation: object) -> None:
    made(annotation)


def test_all_faults_of_a_contract_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:

        class _Wrong(Contract, version="1.0"):
            @query("/x/{sku}/{missing}")
            async def one(self, sku: tuple[str, ...], limit: int | None = 5) -> list[int]: ...

            @command("no-slash", status=404)
            async def two(self, *rest: int) -> None: ...

    told = str(caught.value).splitlines()
    assert told == [
        "_Wrong.one: the path names missing, which is no argument",
        "_Wrong.one, argument sku: stands in the path, so it is one value that is always given",
        "_Wrong.one, argument limit: None cannot be written in a query string: make it the default",
        "_Wrong.one, result: list[int] cannot cross: use tuple[X, ...]",
        "_Wrong.two: path 'no-slash' is none: write it as /stock/{sku}",
        "_Wrong.two: status 404 does not say success: take one from 200 to 299",
        "_Wrong.two, argument rest: cannot be named on the wire: take it by name, one each",
    ]


def test_a_contract_needs_a_version_and_a_promise() -> None:
    with pytest.raises(ConfigError, match="has no version"):

        class _Versionless(Contract):
            @query("/x")
            async def one(self) -> int: ...

    with pytest.raises(ConfigError, match="promises nothing"):

        class _Empty(Contract, version="1.0"):
            pass


def test_a_plain_function_is_refused_when_it_is_marked() -> None:
    with pytest.raises(ConfigError, match="write async def"):
        query("/x")(lambda self: 1)  # type: ignore[type-var]  # pyright: ignore[reportCallIssue, reportArgumentType, reportIncompatibleMethodOverride]


def test_an_error_that_cannot_be_built_again_is_refused() -> None:
    class Odd(DomainError, code="tests.odd"):
        def __init__(self, *, sku: str) -> None:
            super().__init__(sku)

    with pytest.raises(ConfigError, match="make it positional and annotate it"):

        class _Raising(Contract, version="1.0"):
            @command("/x", raises=(Odd,))
            async def one(self) -> None: ...


def test_an_operation_knows_what_its_method_says() -> None:
    assert (BLOB.full_name, BLOB.version, BLOB.kind, BLOB.method) == ("Everything.blob", "2.1", "command", "PUT")
    assert (BLOB.summary, BLOB.docstring) == ("Keep a blob.", "Keep a blob.\n\nIt stays.")
    assert [(each.name, each.where, each.required) for each in BLOB.parameters] == [
        ("name", "path", True),
        ("data", "body", True),
        ("tags", "body", True),
        ("page", "body", True),
    ]


names = st.text(min_size=1).filter(lambda text: text.isprintable())


@given(name=names, data=st.binary(), tags=st.frozensets(st.tuples(names, st.integers())), items=st.lists(st.integers()))
def test_arguments_survive_the_way_there(
    name: str, data: bytes, tags: frozenset[tuple[str, int]], items: list[int]
) -> None:
    arguments: dict[str, object] = {"name": name, "data": data, "tags": tags, "page": Page(tuple(items))}
    assert BLOB.decode_arguments(BLOB.encode_arguments(arguments)) == arguments
    request = BLOB.encode_request(arguments)
    assert BLOB.decode({"name": name}, {}, request.body, strict=True) == arguments


def test_a_recursive_result_survives_the_way_back() -> None:
    page = Page((Tree(name="a", children=(Tree(name="b"),)),))
    assert PAGE.decode_result(PAGE.encode_result(page)) == page


def test_the_fingerprint_is_the_same_in_processes_with_another_hash_seed() -> None:
    script = (
        "from tests.services.test_services_contract import BLOB, Page\n"
        "print(BLOB.encode_arguments({'name': 'n', 'data': b'x', 'page': Page((1,)),"
        " 'tags': frozenset((c, 1) for c in 'abcdefgh')}).decode())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1


def test_every_fault_of_a_request_is_told_with_its_place() -> None:
    with pytest.raises(RequestInvalidError) as caught:
        BLOB.decode(
            {}, {"loud": ["1"]}, b'{"data": 5, "tags": [["a", "1"]], "page": {"items": [], "x": 1}}', strict=True
        )
    assert [where for where, _ in caught.value.faults] == [
        "path.name",
        "query.loud",
        "body.data",
        "body.tags.0.1",
        "body.page.x",
    ]


class Cat(BaseModel, frozen=True):
    name: str


class Dog(BaseModel, frozen=True):
    name: str


class Nameless:
    """Metadata that has no hash."""

    __hash__ = None  # type: ignore[assignment]


class Pets(Contract, version="1.0"):
    """Types that equal each other, and one that cannot be looked up."""

    @command("/cats", requires=ANYONE)
    async def cats_first(self, pets: tuple[Cat | Dog, ...]) -> Cat | Dog: ...

    @command("/dogs", requires=ANYONE)
    async def dogs_first(self, pets: tuple[Dog | Cat, ...]) -> Dog | Cat: ...

    @command("/dogs/again", requires=ANYONE)
    async def dogs_again(self, pets: tuple[Dog | Cat, ...]) -> Dog | Cat: ...

    @command("/nameless", requires=ANYONE)
    async def nameless(self, pet: Annotated[int, Nameless()]) -> None: ...


def test_a_type_is_compiled_once_for_all_operations_that_name_it() -> None:
    _, dogs, again, _ = operations(Pets)
    assert dogs.parameters[0].adapter is again.parameters[0].adapter
    assert dogs.codec.result.adapter is again.codec.result.adapter


def test_a_value_that_could_be_either_is_what_its_own_operation_writes_first() -> None:
    cats, dogs, _, nameless = operations(Pets)
    body = b'{"pets":[{"name":"Rex"}]}'
    assert cats.decode({}, {}, body, strict=True) == {"pets": (Cat(name="Rex"),)}
    assert dogs.decode({}, {}, body, strict=True) == {"pets": (Dog(name="Rex"),)}
    assert (cats.decode_result(b'{"name":"Rex"}'), dogs.decode_result(b'{"name":"Rex"}')) == (
        Cat(name="Rex"),
        Dog(name="Rex"),
    )
    assert nameless.decode({}, {}, b'{"pet":1}', strict=True) == {"pet": 1}


def test_unknown_fields_are_ignored_between_services() -> None:
    sent = b'{"name": "n", "data": "", "tags": [], "page": {"items": [], "new": 1}, "newer": 2}'
    assert BLOB.decode_arguments(sent)["page"] == Page(())


def test_broken_json_is_one_fault() -> None:
    with pytest.raises(RequestInvalidError, match="Invalid JSON"):
        BLOB.decode({"name": "n"}, {}, b"{", strict=True)


def test_the_errors_pickle() -> None:
    import pickle

    error = RequestInvalidError("A.b", (("body.x", "is wrong"),))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.faults) == (str(error), error.faults)
