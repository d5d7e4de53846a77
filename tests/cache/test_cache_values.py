"""Keys from templates, values by type, the small verbs, and what a cache says when it is described wrongly."""

import asyncio
import inspect
import pickle
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from archstone.cache import (
    BYTES,
    Cache,
    CacheBusyError,
    CacheClosedError,
    CacheConfigError,
    CacheStoreError,
    KeyTemplateError,
    UncacheableError,
    UnknownStoreError,
    codec_for,
    key_of,
)
from archstone.cache.keys import compile_key
from archstone.resilience import SettingsError


class Colour(Enum):
    RED = "red:1"


class Profile(BaseModel):
    name: str
    at: datetime


@dataclass(frozen=True)
class Line:
    sku: str
    price: Decimal


async def one(user_id, other=7, *, flag=False): ...


@pytest.mark.parametrize(
    ("template", "args", "named", "key"),
    [
        ("user:{user_id}", ("7",), {}, "user:7"),
        ("user:{user_id}", (7,), {}, "user:7"),
        ("user:{user_id}", (), {"user_id": "a-b_c.d"}, "user:a-b_c.d"),
        ("{user_id}:x", ("a:b%{c} d",), {}, "a%3ab%25%7bc%7d%20d:x"),
        ("{user_id}:{other}", ("a",), {}, "a:7"),
        ("{user_id}:{other}:{flag}", ("a", None), {"flag": True}, "a:%none:True"),
        ("{user_id}", (Colour.RED,), {}, "red%3a1"),
        ("{user_id}", (Decimal("1.50"),), {}, "1.50"),
        ("{user_id}", (date(2026, 1, 2),), {}, "2026-01-02"),
        ("{user_id}", (UUID(int=1),), {}, "00000000-0000-0000-0000-000000000001"),
        ("all", ("x",), {}, "all"),
    ],
)
def test_a_key_is_made_of_the_arguments(template, args, named, key):
    assert compile_key(template, one)(args, named) == key


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=2, max_size=2, unique=True))
def test_different_arguments_have_different_keys(pairs):
    make = compile_key("{a}:{b}", lambda a, b: None)
    assert make(pairs[0], {}) != make(pairs[1], {})


@given(st.text(max_size=8))
def test_a_key_by_hand_is_that_of_the_decorator(text):
    assert key_of("u:{user_id}:o", user_id=text) == compile_key("u:{user_id}:o", one)((text,), {})


def test_a_template_that_does_not_fit_is_refused_when_applied():
    with pytest.raises(KeyTemplateError, match=r"\{usr\} is no parameter of the function: user_id, other, flag"):
        compile_key("user:{usr}", one)
    with pytest.raises(KeyTemplateError, match="collects several"):
        compile_key("{args}", lambda *args: None)
    with pytest.raises(KeyTemplateError, match="no value for"):
        key_of("{a}")


@pytest.mark.parametrize("value", [[1], {"a": 1}, object(), b"x"])
def test_what_has_no_stable_text_is_no_part_of_a_key(value):
    with pytest.raises(UncacheableError, match="no stable text"):
        compile_key("{user_id}", one)((value,), {})


def test_a_missing_argument_is_told():
    with pytest.raises(UncacheableError, match="missing from the call"):
        compile_key("{user_id}", one)((), {})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Profile, Profile(name="Ann", at=datetime(2026, 1, 1, tzinfo=UTC))),
        (Line, Line("a", Decimal("1.50"))),
        (list[Line], [Line("a", Decimal(1))]),
        (Profile | None, None),
        (bytes, b"\x00"),
        (dict[str, int], {"a": 1}),
    ],
)
def test_a_value_comes_back_as_its_type(kind, value):
    codec = codec_for(kind)
    assert codec.decode(codec.encode(value)) == value
    assert codec_for(kind) is codec


def test_msgspec_structs_are_taken():
    msgspec = pytest.importorskip("msgspec")
    kind = msgspec.defstruct("Point", [("x", int)])
    codec = codec_for(kind)
    assert codec.decode(codec.encode(kind(1))) == kind(1)


def test_a_value_of_another_type_is_refused():
    with pytest.raises(UncacheableError, match="does not fit Line"):
        codec_for(Line).encode(Profile(name="Ann", at=datetime(2026, 1, 1, tzinfo=UTC)))
    with pytest.raises(UncacheableError, match="is no bytes"):
        BYTES.encode("text")
    with pytest.raises(CacheConfigError, match="codec of your own"):
        codec_for(asyncio.Event)


async def test_set_get_and_delete():
    async with Cache(ttl_s=10, jitter_ratio=0) as cache:
        await cache.set("user:123", Line("a", Decimal(1)), tags=["user", "profile"])
        await cache.set_many({"a": 1, "b": 2}, tags=["n"])
        assert await cache.get("user:123", Line) == Line("a", Decimal(1))
        assert await cache.get_many(["b", "x", "a"], int) == {"b": 2, "a": 1}
        await cache.delete("a")
        assert await cache.get("a", int) is None
        await cache.invalidate(tag="user")
        assert await cache.get("user:123", Line) is None
        assert await cache.get("b", int) == 2
        await cache.invalidate(tag=["n", "user"], key=["b"])
        assert await cache.get("b", int) is None
        await cache.set("c", 3, ttl_s=20)
        await asyncio.sleep(15)
        assert await cache.get("c", int) == 3
        await asyncio.sleep(5)
        assert await cache.get("c", int) is None


async def test_a_set_of_none_without_negative_time_removes():
    async with Cache() as cache:
        await cache.set("a", 1)
        await cache.set("a", None)
        assert await cache.get("a", int) is None


async def test_a_method_is_decorated_as_well():
    async with Cache() as cache:

        class Catalog:
            loads = 0

            @cache.aside("product:{sku}:{lang}", tags=["product:{sku}"])
            async def product(self, sku: str, lang: str = "en") -> str:
                self.loads += 1
                return f"{sku} {lang}"

        catalog = Catalog()
        assert [await catalog.product("a"), await catalog.product(sku="a"), await catalog.product("a", "de")] == [
            "a en", "a en", "a de",
        ]  # fmt: skip
        assert catalog.loads == 2
        assert catalog.product.__name__ == "product"


async def all_kinds(a: int, str: str, /, type: str = "t", *more: int, key: str, names: str = "n", **rest: int) -> str:
    return f"{a} {str} {type} {more} {key} {names} {rest}"


@pytest.mark.parametrize("template", ["k:{str}", "k:{names}", "{type}:k", "{a}:{key}:{type}"])
async def test_a_decorated_function_takes_what_it_took_before(template):
    """Whatever the parameters are called, and however they are given."""
    calls = (
        ((1, "s"), {"key": "k"}),
        ((1, "s", "u"), {"key": "k", "names": "é-1"}),
        ((1, "s", "u", 2, 3), {"key": "l", "extra": 4}),
        ((2, "s:s"), {"type": "v", "key": "k"}),
    )
    for args, named in calls:
        async with Cache("memory:") as cache:
            decorated = cache.aside(template)(all_kinds)
            assert inspect.iscoroutinefunction(decorated)
            assert inspect.signature(decorated) == inspect.signature(all_kinds)
            for _ in range(3):
                assert await decorated(*args, **named) == await all_kinds(*args, **named)
            for wrong, by_name in (((1,), {"key": "k"}), ((1, "s"), {}), ((), {})):
                with pytest.raises(TypeError, match=r"missing \d required"):
                    await decorated(*wrong, **by_name)


def test_what_cannot_be_decorated_is_refused_when_applied():
    cache = Cache()
    with pytest.raises(CacheConfigError, match="must be a coroutine function"):
        cache.aside("k")(lambda: None)  # type: ignore[arg-type]

    async def untyped(): ...

    with pytest.raises(CacheConfigError, match="must say its return type"):
        cache.aside("k")(untyped)
    assert cache.aside("k", codec=BYTES)(untyped)


def test_a_cache_says_what_is_wrong_with_it():
    with pytest.raises(SettingsError, match=r"ttl_s=0 must be above 0.*jitter_ratio=1 must be in \[0, 1\)"):
        Cache(ttl_s=0, jitter_ratio=1)
    with pytest.raises(SettingsError, match="ttl_s=nan"):
        Cache(ttl_s=float("nan"))
    for life in ({"refresh_ahead_ratio": 1.0}, {"early_beta": 0.0}, {"stale_if_error_s": -1.0}, {"negative_ttl_s": 0}):
        with pytest.raises(SettingsError, match=next(iter(life))):
            Cache(**life)
    with pytest.raises(CacheConfigError, match="max_loads=0"):
        Cache(max_loads=0)
    with pytest.raises(UnknownStoreError, match="no cache store for 'memcached'"):
        Cache("memcached://x")
    with pytest.raises(CacheConfigError, match="max_entries=0 must be at least 1"):
        Cache("memory:?max_entries=0")
    for url in ("memory:?max_entires=1", "memory:?max_entries=many"):
        with pytest.raises(CacheConfigError, match="is none of its parameters"):
            Cache(url)


@pytest.mark.parametrize(
    "error",
    [
        CacheBusyError("c", 3, 1.0),
        CacheClosedError("c"),
        CacheConfigError("c", "f"),
        CacheStoreError("s", "w"),
        KeyTemplateError("t", "f"),
        UncacheableError("w", "f"),
        UnknownStoreError("s", ["memory"]),
    ],
    ids=lambda error: error.code,
)
def test_errors_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
