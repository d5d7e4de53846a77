"""Reading secrets from logs. The weak variant is structlog, and logging, without our filter."""

import dataclasses
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone.observability import (
    SecretsFilter,
    configure_logging,
    get_logger,
    recorded,
    redact_secrets,
    scrub,
    secrets,
    span,
)

SECRET = "hunter2hunter2"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlc2lnbmF0dXJl"
TEXTS = {
    "a header": f"Authorization: Bearer {SECRET}",
    "a header of another scheme": f"authorization='Token {SECRET}'",
    "a header in a dictionary": str({"authorization": f"Basic {SECRET}", "host": "x"}),
    "a bearer token": f"sent bearer {SECRET} to the bank",
    "a cookie": f"Cookie: __Host-shop-session={SECRET}",
    "a URL with a password": f"cannot reach postgresql://shop:{SECRET}@db.example.com:5432/shop",
    "a URL with a user that is empty": f"redis://:{SECRET}@cache/0",
    "a parameter": f"GET /callback?access_token={SECRET}&state=1",
    "a field": f"password={SECRET}",
    "a field in quotes": f"api_key: '{SECRET}'",
    "a phrase in quotes": f'passphrase = "{SECRET} and more"',
    "JSON": json.dumps({"user": "ann", "client_secret": SECRET}),
    "nested JSON": json.dumps({"a": [{"refreshToken": SECRET}]}),
    "a JSON Web Token": f"got {JWT} back",
    "a refresh token of ours": f"token rt_{SECRET}{SECRET} was used",
    "a key of GitHub": "ghp_" + SECRET * 3,
    "a key of Stripe": "sk_live_" + SECRET * 2,
    "a key of AWS": "AKIAIOSFODNN7EXAMPLE",
    "a private key": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    "a private key that is cut off": f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n",
    "a password hash": "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
    "a card number": "4111111111111111",
    "a card number in groups": "pays with 5500-0000 0000-0004 today",
    "a card of fifteen digits": "3782 822463 10005",
}
HIDDEN = (
    SECRET, JWT, "AKIAIOSFODNN7EXAMPLE", "aGFzaGhhc2g", "4111111111111111", "5500-0000 0000-0004", "3782 822463 10005",
)  # fmt: skip


def shown(text: str) -> bool:
    return any(each in text for each in HIDDEN)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging("debug", stream=stream)
    yield stream
    configure_logging("warning", json=False)


def plain(line: str) -> str:
    """Return what a reader of a line of JSON sees."""
    return line.replace('\\"', '"').replace("\\n", "\n")


def unfiltered(event: str, **values: object) -> str:
    """Weak: writes what it is given."""
    return str(structlog.processors.JSONRenderer()(None, "info", {"event": event, **values}))


@pytest.mark.parametrize("what", TEXTS)
def test_attack_a_secret_is_read_from_a_value(lines: io.StringIO, what: str) -> None:
    get_logger("x").info("told", note=TEXTS[what])
    assert not shown(lines.getvalue())
    assert json.loads(lines.getvalue())["event"] == "told"
    assert shown(plain(unfiltered("told", note=TEXTS[what])))


@pytest.mark.parametrize("what", TEXTS)
def test_attack_a_secret_is_read_from_the_event_itself(lines: io.StringIO, what: str) -> None:
    get_logger("x").info(f"told {TEXTS[what]}")
    assert not shown(lines.getvalue())
    assert shown(plain(unfiltered(f"told {TEXTS[what]}")))


@pytest.mark.parametrize("what", TEXTS)
def test_attack_a_secret_is_read_from_an_exception(lines: io.StringIO, what: str) -> None:
    try:
        raise ValueError(TEXTS[what])
    except ValueError as error:
        error.add_note(TEXTS[what])
        get_logger("x").exception("failed")
        with recorded() as spans, span("work") as work:
            work.fail(error)
    assert not shown(lines.getvalue())
    assert not shown(str(spans[0].attributes))
    weak = io.StringIO()
    logger = logging.Logger("weak")  # noqa: LOG001 - one of its own, without the handlers of the root
    logger.addHandler(logging.StreamHandler(weak))
    try:
        raise ValueError(TEXTS[what])
    except ValueError:
        logger.exception("failed")
    assert shown(weak.getvalue())


@pytest.mark.parametrize(
    "name", ["password", "new_password", "X-Api-Key", "set-cookie", "Authorization", "accessToken", "client_secret",
             "signing_key", "cvv", "card_number", "otp", "private-key"],
)  # fmt: skip
def test_attack_a_secret_is_read_from_under_its_name(lines: io.StringIO, name: str) -> None:
    @dataclasses.dataclass
    class Held:
        inner: dict[str, object]

    get_logger("x").info("told", **{name: SECRET}, deep=[{"a": Held({name: SECRET})}])
    assert not shown(lines.getvalue())
    assert shown(unfiltered("told", **{name: SECRET}))


def test_attack_a_card_number_is_read_as_a_number(lines: io.StringIO) -> None:
    get_logger("x").info("told", number=4111111111111111, at=1764431522000000, order=[4111111111111111])
    line = json.loads(lines.getvalue())
    assert (line["number"], line["at"], line["order"]) == ("[redacted]", 1764431522000000, ["[redacted]"])
    assert "4111111111111111" in unfiltered("told", number=4111111111111111)


def test_attack_a_library_logs_a_url_with_its_password() -> None:
    def logged(*filters: logging.Filter) -> str:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        for each in filters:
            handler.addFilter(each)
        logger = logging.Logger("library")  # noqa: LOG001 - one of its own, without the handlers of the root
        logger.addHandler(handler)
        try:
            raise ConnectionError(f"redis://:{SECRET}@cache/0")
        except ConnectionError:
            logger.exception("cannot reach %s", f"redis://:{SECRET}@cache/0")
        return stream.getvalue()

    assert not shown(logged(SecretsFilter()))
    assert "cannot reach redis://:[redacted]@cache/0" in logged(SecretsFilter())
    assert "ConnectionError" in logged(SecretsFilter())
    assert shown(logged())  # weak: without the filter


def test_attack_a_program_with_a_structlog_of_its_own_tells_secrets() -> None:
    event: Any = {"event": f"password={SECRET}", "token": SECRET, "n": 1}
    assert redact_secrets(None, "info", dict(event)) == {
        "event": "password=[redacted]", "token": "[redacted]", "n": 1,
    }  # fmt: skip
    assert shown(unfiltered(**event))


@pytest.mark.parametrize(
    "text",
    [
        "placed", "order 019a3c4fdcf87c12a6f1b2c3d4e5f607 is confirmed", "GET /api/v1/products?limit=20&cursor=abc",
        "http://127.0.0.1:8080/docs", "postgresql://db.example.com:5432/shop", "took 0.25 s: 3 of 4", "not_paid=1",
        "2026-01-01T00:00:00.000000Z", "1764431522000000", "photoproduct: 5", "a@b.example", "key: value",
        "5500 of 1000 0000", "version 4.1.1", "an author: Ann", "192.168.100.200:65535", "the secretary: Bob",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert scrub(text) == text or text.startswith("the secretary")


@given(
    before=st.text(max_size=30), after=st.text(max_size=30), secret=st.from_regex(r"[a-zA-Z0-9]{12,30}", fullmatch=True)
)
@settings(max_examples=60, deadline=None)
def test_attack_a_secret_hides_between_other_words(before: str, after: str, secret: str) -> None:
    for text in (f"{before} password={secret} {after}", f"{before} https://u:{secret}@h/ {after}"):
        told = scrub(text)
        assert secret not in told or secret in before or secret in after
        # Weak: a pattern for a line that is nothing but its field.
        assert secret in re.sub(r"^password=\S+$", "[redacted]", text) or text == f"password={secret}"


NAMES = [
    "authorization", "Proxy-Authorization", "passwd", "password", "passphrase", "pwd", "secret", "token", "api_key",
    "apikey", "access-key", "privatekey", "signing_key", "credentials", "cookie", "session-id", "cvv", "cvc",
    "card_number",
]  # fmt: skip
ALONE = [
    "bearer abcdefgh", "Basic abcdefgh", "https://u:abcdefgh@host", "redis://:abcdefgh@h", "eyJabcdefghijk.abcd.",
    "-----BEGIN RSA PRIVATE KEY-----", "$argon2id$v=19", "$scrypt$x", "$2b$12", "$pbkdf2-sha256$1", "4111111111111111",
    "4111-1111 1111-1111", *(f"{each}{'a1' * 10}" for each in (
        "rt_", "ask_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xoxa-", "xoxb-", "xoxp-",
        "sk_live_", "rk_test_", "AKIA", "ASIA", "AIza",
    )),
]  # fmt: skip
"""Of each alternative of the pattern one text at least."""
CASES = [
    str,
    str.upper,
    str.title,
    lambda text: text.replace("s", "\u017f").replace("i", "\u0131").replace("k", "\u212a"),
]
"""The last ones are letters that are equal but for their case, for the pattern."""


@pytest.mark.parametrize("case", CASES)
def test_no_text_with_a_secret_is_passed_over(case: Callable[[str], str]) -> None:
    """Most texts are not tried against the pattern: those without any of its words."""
    texts = [*ALONE, *(f"{name}{between}x" for name in NAMES for between in ("=", ": ", '": "', "='"))]
    found = [text for text in map(case, texts) if secrets._PATTERN.search(text)]
    assert found
    assert [text for text in found if not secrets._may_hold(f"a {text} b")] == []
    assert set(texts) - {text for text in texts if secrets._PATTERN.search(text)} == set()
    assert not secrets._may_hold("order 17 is confirmed: it leaves tomorrow")


@given(text=st.text(max_size=40) | st.text("=:@/ -$eyJ0123456789abghkprstx_", max_size=40))
@settings(max_examples=400, deadline=None)
def test_a_text_that_is_passed_over_holds_nothing(text: str) -> None:
    assert secrets._may_hold(text) or secrets._PATTERN.search(text) is None


@given(text=st.text(max_size=300))
@settings(max_examples=200)
def test_any_text_can_be_looked_at(text: str) -> None:
    assert isinstance(scrub(text), str)
