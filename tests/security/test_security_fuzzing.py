"""Every parser we own gets any text: it reads it, or refuses it by the error it declares, in a bounded time.

Parsers with fuzz tests of their own are listed in docs/security/fuzzing.md, beside those here.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from archstone.cache.errors import CacheConfigError, UnknownStoreError
from archstone.cache.http import proxy, response
from archstone.cache.keys import key_of
from archstone.cache.registry import find_store
from archstone.cache.stores.redis import RedisStore
from archstone.data import Event, EventError, UnknownEngineError, split_script
from archstone.data.engines.postgresql.url import label_of, parse_url
from archstone.data.sql import compile_statement
from archstone.errors import ArchstoneError, ConfigError
from archstone.gateway import encoding, etag, request_id
from archstone.resilience.store import find_store as find_limits
from archstone.runtime import control
from archstone.runtime.config import load_settings
from archstone.security import CrossSiteError, check_same_origin
from archstone.security.encryption import BrokenSealError, DerivationTextError, RootKeyError, SealRing, parse
from archstone.security.encryption.roots import _decoded
from archstone.security.outgoing import Allowed, OutgoingError, is_public, place_of
from archstone.services.http import errors as http_errors
from archstone.services.http import headers, query_string
from archstone.services.http.transport import HttpTransport
from archstone.systems import pages
from archstone.systems.shop.images.paths import read_path
from archstone.systems.shop.notifications.mailer import open_mailer
from archstone.systems.shop.paging import BadCursorError, decode_cursor
from archstone.systems.shop.web import asgi, cookies, forms

RING = SealRing([bytes(32)])
REFUSED = (http_errors.BadRequestError, http_errors.HeadersTooLargeError, http_errors.ContentTypeError)

URLS = st.text(max_size=60) | st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https", "redis", "postgresql", "smtp", "smtps", "sqlite", "memory", "ftp"]),
    st.sampled_from(["", "host", "host:1", "host:x", "user:p@host:99999", "[::1]", "[::1", "[", "h\u2100st", ":@:"]),
    st.sampled_from(["", "/", "/0", "/a/../b", "/%zz"]),
    st.sampled_from(
        [
            "",
            "?",
            "?pool_size=x",
            "?pool_size=" + "9" * 5000,
            "?max_entries=" + "9" * 5000,
            "?slots=0",
            "?schema=%00",
            "?pool_timeout_s=nan",
            "?prefix={",
            "#x",
        ]
    ),
)
NUMBERS = st.sampled_from([b"", b"1", b"-1", b"9" * 5000, b"\xb2", b"1.5", b"NaN", b"0x1", b" 1 "])
CACHING = st.builds(
    lambda name, value: name + b"=" + value, st.sampled_from([b"max-age", b"s-maxage", b"min-fresh"]), NUMBERS
)
DATES = st.sampled_from(
    [
        b"",
        b"Mon, 01 Jan 2024 00:00:00 GMT",
        b"Mon, 01 Jan 99999999 00:00:00 GMT",
        b"Mon, 01 Jan 2024 00:00:00 -0000",
        b"Mon, 01 Jan 2024 00:00:00 +99999999",
        b"0",
        b"\xff",
        b"31 Feb 2024 99:99:99 +0000",
    ]
)
LINES = st.binary(max_size=80) | CACHING | DATES
PAIRS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"cache-control",
                b"age",
                b"date",
                b"expires",
                b"vary",
                b"etag",
                b"if-none-match",
                b"cookie",
                b"if-modified-since",
                b"last-modified",
                b"content-length",
                b"transfer-encoding",
                b"origin",
                b"content-type",
                b"accept-encoding",
                b"host",
                b"sec-fetch-site",
                b"connection",
                b"x",
            ]
        ),
        LINES,
    ),
    max_size=12,
)


class Parser(NamedTuple):
    """One parser: what it is given, and the errors that it may answer with."""

    given: st.SearchStrategy[Any]
    read: Callable[[Any], object]
    refuses: tuple[type[Exception], ...] = ()


class Known(Event, name="fuzzing.known", key="key"):
    key: str
    number: int = 0


def entry(fresh_s: float) -> Any:
    return type("Entry", (), {"age_s": 1.0, "fresh_s": fresh_s})()


PARSERS = {
    # HTTP: heads, query strings, conditional requests, cookies, forms
    "headers": Parser(PAIRS, headers.read_headers, REFUSED),
    "content-length": Parser(st.binary(max_size=30) | NUMBERS, headers.content_length, REFUSED),
    "deadline": Parser(st.binary(max_size=30) | NUMBERS, headers.remaining_s, REFUSED),
    "correlation": Parser(st.binary(max_size=200), headers.correlation_id),
    "idempotency key": Parser(st.binary(max_size=300), lambda raw: headers.idempotency_key(raw, limit=255), REFUSED),
    "content-type": Parser(PAIRS, lambda pairs: headers.check_json(dict(pairs), b"[NaN]"), REFUSED),
    "query string": Parser(st.binary(max_size=200), query_string.parse_query, REFUSED),
    "request id": Parser(st.binary(max_size=200), request_id.request_id),
    "entity tags": Parser(st.binary(max_size=200), lambda raw: etag.matches(raw, b'W/"a"')),
    "accept-encoding": Parser(LINES, encoding.choose_encoding),
    "cache-control": Parser(PAIRS, lambda pairs: (response.directives(pairs), response.lifetime_s(200, tuple(pairs)))),
    "age": Parser(PAIRS, lambda pairs: response.age_s(tuple(pairs))),
    "what a client asks of a cache": Parser(
        PAIRS, lambda pairs: proxy._good_enough(entry(60.0), response.directives(pairs))
    ),
    "conditional request": Parser(st.tuples(PAIRS, PAIRS), lambda two: proxy._known(tuple(two[0]), tuple(two[1]))),
    "kept headers": Parser(PAIRS, lambda pairs: response.end_to_end(tuple(pairs))),
    "cookies": Parser(PAIRS, lambda pairs: cookies.cookies_of(pairs, https=True)),
    "headers of pages": Parser(PAIRS, asgi.headers_of, (asgi.BrokenRequestError,)),
    "accept-encoding of pages": Parser(PAIRS, pages.accepts_gzip),
    "origin": Parser(PAIRS, lambda pairs: check_same_origin(dict(pairs), https=True), (CrossSiteError,)),
    "forms": Parser(st.binary(max_size=300), forms.fields_of, (ValueError,)),
    "cursors": Parser(st.text(max_size=100), lambda text: decode_cursor("q", text, like=(0, "")), (BadCursorError,)),
    "paths of pictures": Parser(st.text(max_size=80), read_path),
    # Addresses and configuration
    "URLs of PostgreSQL": Parser(URLS, parse_url, (UnknownEngineError,)),
    "labels of PostgreSQL": Parser(URLS, label_of),
    "URLs of caches": Parser(URLS, find_store, (CacheConfigError, UnknownStoreError)),
    "URLs of Redis": Parser(URLS, RedisStore, (CacheConfigError,)),
    "URLs of limits": Parser(URLS, lambda url: find_limits(url, 1.0), (ConfigError,)),
    "URLs of services": Parser(URLS, HttpTransport, (ConfigError,)),
    "URLs of mailers": Parser(URLS, lambda url: open_mailer(url, Path("mails")), (ConfigError,)),
    "addresses of pictures": Parser(URLS, lambda url: place_of(url, Allowed()), (OutgoingError,)),
    "allowed hosts": Parser(st.text(max_size=80) | URLS, Allowed.parse, (ConfigError,)),
    "IP addresses": Parser(st.text(max_size=40), is_public),
    # SQL, keys, messages
    "SQL": Parser(st.text(max_size=200), split_script),
    "SQL parameters": Parser(st.text(max_size=200), compile_statement, (ArchstoneError,)),
    "key templates": Parser(st.text(max_size=80), lambda text: key_of(text, a=1), (ConfigError,)),
    "events": Parser(st.binary(max_size=100), Known.decode, (EventError, ValueError)),
    "control socket": Parser(
        st.binary(max_size=200)
        | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode),
        control._request,
        (control.ControlError,),
    ),
    # Security
    "sealed values": Parser(st.binary(max_size=120), lambda raw: RING.open(raw, context="x"), (BrokenSealError,)),
    "key from a password": Parser(st.text(max_size=120), parse, (DerivationTextError,)),
    "root keys": Parser(
        st.lists(st.text(max_size=50) | st.none() | st.integers(), max_size=3),
        lambda texts: _decoded("x", texts),
        (RootKeyError,),
    ),
}


@pytest.mark.parametrize("name", PARSERS)
def test_any_input_is_read_or_refused_by_name(name: str) -> None:
    parser = PARSERS[name]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(parser.given)
    def run(given: object) -> None:
        try:
            parser.read(given)
        except parser.refuses:
            return

    run()


LONG = 200_000
"""Characters: more than any head, and enough that what grows with a square would take minutes."""


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("query string", b"a=%41&"),
        ("entity tags", b'W/"a", '),
        ("entity tags", b'"'),
        ("accept-encoding", b"gzip;q=0.1,"),
        ("accept-encoding", b" "),
        ("forms", b"a=b&"),
        ("forms", b"%"),
        ("SQL", "'"),
        ("SQL", "/*"),
        ("SQL", "--\n"),
        ("SQL", "$$"),
        ("SQL", ":a::b"),
        ("SQL parameters", ":a "),
        ("key templates", "{"),
        ("key templates", "{}"),
        ("cursors", "A"),
        ("URLs of PostgreSQL", "postgresql://"),
        ("control socket", b"["),
        ("sealed values", b"\x01"),
        ("key from a password", "$argon2id$v=19$m=1"),
        ("correlation", b"a"),
        ("request id", b"a"),
    ],
)
def test_the_time_grows_with_the_length_and_not_with_its_square(name: str, unit: Any) -> None:
    parser = PARSERS[name]
    given = unit * (LONG // len(unit))
    begin_s = time.thread_time()
    with suppress(*parser.refuses):
        parser.read(given)
    assert time.thread_time() - begin_s < 2.0


@pytest.mark.parametrize(
    "pairs", [[(b"cookie", b"shop-session=a; " * 10_000)], [(b"cache-control", b"max-age=1," * 20_000)]]
)
def test_long_lists_in_headers_take_no_longer(pairs: list[tuple[bytes, bytes]]) -> None:
    begin_s = time.thread_time()
    cookies.cookies_of(pairs, https=False)
    response.lifetime_s(200, tuple(pairs))
    assert time.thread_time() - begin_s < 2.0


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.text(max_size=200)
    | st.sampled_from(["port = ", "port = 'x'", "[options]\na = [", "port = 99999999999999999999"])
)
@example("port = 1e400")
def test_any_configuration_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("config") / "archstone.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_settings(file=path, environ={})
    except ConfigError:
        return


def test_the_table_has_no_parser_that_refuses_everything() -> None:
    """A wrong call would be an error of each example, and if that error is declared nobody would see it."""
    good: dict[str, Any] = {
        "headers": [(b"host", b"x")],
        "content-length": b"1",
        "deadline": b"1",
        "idempotency key": b"a",
        "query string": b"a=b",
        "content-type": [(b"content-type", b"application/json")],
        "forms": b"a=b",
        "headers of pages": [(b"host", b"x")],
        "URLs of PostgreSQL": "postgresql://h/d",
        "URLs of caches": "memory:",
        "URLs of Redis": "redis://h/0",
        "URLs of limits": "redis://h/0",
        "URLs of services": "http://h",
        "URLs of mailers": "smtp://h",
        "SQL parameters": "SELECT :a",
        "key templates": "{a}",
        "events": b'{"key": "a"}',
        "control socket": b'{"verb": "a"}',
        "sealed values": RING.seal(b"", context="x"),
        "key from a password": "$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        "root keys": ["A" * 43 + "="],
        "cursors": None,
        "origin": [(b"sec-fetch-site", b"same-origin")],
        "addresses of pictures": "http://example.com/a",
        "allowed hosts": "a:1",
    }
    assert {name for name, parser in PARSERS.items() if parser.refuses} == set(good)
    from archstone.systems.shop.paging import encode_cursor

    good["cursors"] = encode_cursor("q", (1, "a"))
    refused = {}
    for name, given_ in good.items():
        try:
            PARSERS[name].read(given_)
        except PARSERS[name].refuses as error:
            refused[name] = error
    assert set(refused) <= {"content-type"}, refused  # its body is not JSON, on purpose
