"""Attacks by way of a browser: forged requests, foreign readers, planted cookies, scripts that nobody vouched for."""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attack_stage import Target, asked, caught, caught_later, header
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware

from archstone.errors import ConfigError
from archstone.security.http import (
    STRICT,
    Cors,
    CsrfError,
    CsrfTokens,
    DoubleSubmit,
    HttpsOnly,
    HttpsRedirect,
    Origins,
    SameOrigin,
    SecureHeaders,
    SecurityHeaders,
    nonce_of,
    read_cookies,
)

KEY = b"k" * 32


# Forged requests


def by_substring(app: Any) -> Any:
    """Weak: takes any origin in which our name stands."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        origin = dict(scope["headers"]).get(b"origin", b"")
        if b"shop.test" in origin:
            await app(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    return serve


def unless_absent(app: Any) -> Any:
    """Weak: looks at the header only where there is one."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        site = dict(scope["headers"]).get(b"sec-fetch-site")
        if site in {None, b"same-origin"}:
            await app(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    return serve


def by_the_last(app: Any) -> Any:
    """Weak: of a header that comes twice, the last counts."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if dict(scope["headers"]).get(b"origin") == b"https://shop.test":
            await app(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    return serve


def for_some_methods(app: Any) -> Any:
    """Weak: guards the methods that somebody thought of, and no web sockets."""
    guarded = SameOrigin(app)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        of_those = scope.get("method") in {"POST", "PUT", "PATCH", "DELETE"}
        await (guarded if of_those else app)(scope, receive, send)

    return serve


async def forged(guard: Callable[[Any], Any], *headers: tuple[str, str], method: str = "POST") -> None:
    target = Target()
    answer = await asked(guard(target), method, "/transfer", *headers)
    assert answer.status == 403
    assert target.reached == []


@pytest.mark.parametrize(
    "origin", ["https://shop.test.evil.test", "https://evil.test/?shop.test", "http://shop.test", "null", ""]
)
async def test_attack_a_form_of_another_site(origin: str) -> None:
    await forged(SameOrigin, ("origin", origin))
    if "shop.test" in origin:
        await caught_later(lambda: forged(by_substring, ("origin", origin)))


async def test_attack_a_form_of_a_sister_site_that_may_set_cookies() -> None:
    await forged(SameOrigin, ("origin", "https://other.shop.test"), ("sec-fetch-site", "same-site"))
    await caught_later(lambda: forged(by_substring, ("origin", "https://other.shop.test")))


async def test_attack_a_request_stripped_of_what_says_where_it_comes_from() -> None:
    await forged(SameOrigin)
    await caught_later(lambda: forged(unless_absent))


async def test_attack_two_origins_of_which_one_is_ours() -> None:
    twice = (("origin", "https://shop.test"), ("origin", "https://evil.test"))
    await forged(SameOrigin, *twice)
    await forged(SameOrigin, *reversed(twice))
    await caught_later(lambda: forged(by_the_last, *reversed(twice)))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "PROPFIND", "post"])
async def test_attack_a_method_that_nobody_thought_of(method: str) -> None:
    await forged(SameOrigin, ("origin", "https://evil.test"), method=method)
    if method in {"PROPFIND", "post"}:
        await caught_later(lambda: forged(for_some_methods, ("origin", "https://evil.test"), method=method))


async def test_attack_a_web_socket_from_another_site() -> None:
    async def handshake(guard: Callable[[Any], Any], origin: bytes) -> tuple[list[str], list[Any]]:
        target, sent = Target(), []
        headers = [(b"host", b"shop.test"), (b"origin", origin)]

        async def send(message: Any) -> None:
            sent.append(message)

        await guard(target)({"type": "websocket", "scheme": "wss", "headers": headers}, None, send)
        return target.reached, sent

    async def check(guard: Callable[[Any], Any]) -> None:
        assert await handshake(guard, b"https://shop.test") == (["websocket"], [])
        assert await handshake(guard, b"https://evil.test") == ([], [{"type": "websocket.close", "code": 1008}])

    await check(SameOrigin)
    await caught_later(lambda: check(for_some_methods))


# Tokens against forged requests


def session_of(scope: Any) -> str:
    return dict(scope["headers"]).get(b"x-session", b"").decode()


class Unsigned:
    """Weak: the two halves must be equal, and may be anything (naive double submit)."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sent = read_cookies(scope["headers"], ["csrf"], https=True).get("csrf", "")
        again = dict(scope["headers"]).get(b"x-csrf-token", b"").decode()
        if sent and hmac.compare_digest(sent, again):
            await self.app(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def doubled(app: Any) -> DoubleSubmit:
    return DoubleSubmit(app, tokens=CsrfTokens(KEY), session=session_of)


async def submitted(guard: Callable[[Any], Any], cookie: str, again: str, session: str = "s1") -> int:
    headers = (("cookie", f"__Host-csrf={cookie}"), ("x-csrf-token", again), ("x-session", session))
    target = Target()
    answer = await asked(guard(target), "POST", "/", *headers)
    assert (answer.status == 200) == (target.reached == ["POST"])
    return answer.status


async def test_attack_a_cookie_planted_by_a_neighbour() -> None:
    async def check(guard: Callable[[Any], Any]) -> None:
        assert await submitted(guard, "planted", "planted") == 403

    await check(doubled)
    await caught_later(lambda: check(Unsigned))


async def test_attack_a_token_of_the_attackers_own_session() -> None:
    async def check(guard: Callable[[Any], Any]) -> None:
        mine = CsrfTokens(KEY).issue("s-evil")
        assert await submitted(guard, mine, mine, session="s-ann") == 403

    await check(doubled)
    await caught_later(lambda: check(Unsigned))


async def test_attack_a_token_of_yesterday_or_of_another_key() -> None:
    async def check(tokens: CsrfTokens) -> str:
        token = tokens.issue("s1")
        tokens.check(token, "s1")
        await asyncio.sleep(61)
        with pytest.raises(CsrfError):
            tokens.check(token, "s1")
        return token

    token = await check(CsrfTokens(KEY, lifetime_s=60))
    await caught_later(lambda: check(CsrfTokens(KEY, lifetime_s=10**9)))  # weak: it never ends
    with pytest.raises(CsrfError):
        CsrfTokens(KEY).check(CsrfTokens(b"j" * 32).issue("s1"), "s1")
    for broken in ("", "x", "é", token[:-1], token[:-4] + "AAAA", token + "AAAA", "A" * 10_000):
        with pytest.raises(CsrfError):
            CsrfTokens(KEY).check(broken, "s1")


def test_attack_measuring_a_secret_under_compression() -> None:
    """BREACH needs a page that repeats the same secret; each token is another text."""

    def check(issue: Callable[[str], str]) -> None:
        assert len({issue("s1") for _ in range(50)}) == 50

    check(CsrfTokens(KEY).issue)
    caught(lambda: check(lambda session: hmac.digest(KEY, session.encode(), "sha256").hex()))
    with pytest.raises(ConfigError):
        CsrfTokens(b"short")


# Foreign readers


def reflecting(app: Any) -> Any:
    """Weak: says of any origin that it may read."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        origin = dict(scope["headers"]).get(b"origin", b"")

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                more = [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await app(scope, receive, sending)

    return serve


def listed(app: Any) -> Cors:
    return Cors(app, Origins(("https://app.test",), credentials=True, exposed=("x-total",)))


async def foreign(guard: Callable[[Any], Any], origin: str) -> None:
    answer = await asked(guard(Target()), "GET", "/", ("origin", origin))
    assert header(answer, "access-control-allow-origin") is None
    assert header(answer, "access-control-allow-credentials") is None
    assert "origin" in (header(answer, "vary") or "")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test",
        "null",
        "https://app.test.evil.test",
        "https://xapp.test",
        "http://app.test",
        "https://app.test:444",
        "HTTPS://APP.TEST",
    ],
)
async def test_attack_reading_with_the_cookies_of_a_visitor(origin: str) -> None:
    await foreign(listed, origin)
    await caught_later(lambda: foreign(reflecting, origin))


def test_attack_a_wildcard_with_credentials_and_origins_that_are_none() -> None:
    def check(make: Callable[[], object]) -> None:
        with pytest.raises(ConfigError):
            make()

    for wrong in (
        ("*",),
        ("null",),
        ("https://*.test",),
        ("https://app.test/",),
        ("app.test",),
        ("https://app.test:443",),
    ):
        check(lambda wrong=wrong: Origins(wrong, credentials=True))
        # Weak: Starlette's takes them all.
        caught(lambda wrong=wrong: check(lambda: CORSMiddleware(Target(), allow_origins=wrong, allow_credentials=True)))
    assert Origins(("*",)).takes(b"https://any.test") == b"*"


# Scripts, frames, downgrades


async def policy_of(app: Any) -> dict[str, list[str]]:
    answer = await asked(app, "GET")
    told = header(answer, "content-security-policy") or ""
    return {each.split()[0]: each.split()[1:] for each in told.split("; ") if each}


def as_the_guide(app: Any) -> Any:
    """Weak: the policy that the guide shows."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                told = b"default-src 'self'; script-src 'self' 'unsafe-inline'; img-src 'self' data: https:"
                message["headers"] = [*message["headers"], (b"content-security-policy", told)]
            await send(message)

        await app(scope, receive, sending)

    return serve


async def test_attack_a_script_in_a_page() -> None:
    async def check(guard: Callable[[Any], Any]) -> None:
        policy = await policy_of(guard(Target()))
        allowed = policy.get("script-src", policy["default-src"])
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "data:", "https:"} & set(allowed)
        assert policy["base-uri"] == ["'none'"], "else <base> turns relative scripts elsewhere"
        assert policy["frame-ancestors"] == ["'none'"]

    await check(SecureHeaders)
    await caught_later(lambda: check(as_the_guide))


def test_attack_a_policy_made_weak_by_its_owner() -> None:
    def check(make: Callable[[Mapping[str, tuple[str, ...]]], object]) -> None:
        for weak in ("'unsafe-inline'", "'unsafe-eval'", "*", "data:", "https:"):
            with pytest.raises(ConfigError, match="script-src"):
                make({**STRICT, "script-src": ("'self'", weak)})
        with pytest.raises(ConfigError, match="base-uri is missing"):
            make({"default-src": ("'none'",), "frame-ancestors": ("'none'",)})
        with pytest.raises(ConfigError, match="cannot stand"):
            make({**STRICT, "img-src": ("'self'; script-src *",)})

    def put_together(policy: Mapping[str, tuple[str, ...]]) -> str:
        """Weak: whatever is said is sent."""
        return "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items())

    check(lambda policy: SecurityHeaders(policy=policy))
    caught(lambda: check(put_together))
    assert "; script-src *" in put_together({**STRICT, "img-src": ("'self'; script-src *",)})


async def test_attack_guessing_a_nonce() -> None:
    async def check(app: Any, target: Target) -> None:
        seen = [(await policy_of(app))["script-src"][-1] for _ in range(20)]
        assert len(set(seen)) == 20
        told = [nonce_of(scope) for scope in target.scopes]
        assert seen == [f"'nonce-{each}'" for each in told]
        assert all(len(each) >= 22 for each in told)

    target = Target()
    await check(SecureHeaders(target), target)
    fixed = SecureHeaders(Target())  # weak: a nonce that does not change
    fixed._policy = fixed._policy.replace("{nonce}", "always-the-same")
    with pytest.raises(AssertionError):
        await check(fixed, Target())


async def test_attack_listening_in_on_http() -> None:
    async def check(guard: Callable[[Any], Any]) -> None:
        target = Target()
        answer = await asked(guard(target), "POST", "/pay?x=1", scheme="http")
        assert (answer.status, header(answer, "location")) == (308, "https://shop.test/pay?x=1")
        assert target.reached == []

    await check(HttpsOnly)
    await caught_later(lambda: check(lambda app: app))


async def test_attack_a_redirect_that_leads_elsewhere_by_the_host_header() -> None:
    async def check(app: Any, host: str) -> None:
        answer = await asked(app, "GET", "/", ("host", host), scheme="http")
        assert answer.status == 421, host

    for host in ("evil.test/", "evil.test\r\nx: y", "a@evil.test", "", "shop.test:80:90", "x" * 300):
        await check(HttpsRedirect(), host)
    await caught_later(lambda: check(HTTPSRedirectMiddleware(Target()), "evil.test/"))  # weak: to wherever it says
    known = HttpsRedirect(port=8443, hosts=("shop.test",))
    assert (await asked(known, "GET", "/", ("host", "evil.test"), scheme="http")).status == 421
    assert (
        header(await asked(known, "GET", "/a", ("host", "SHOP.test:80"), scheme="http"), "location")
        == "https://shop.test:8443/a"
    )


def test_attack_a_cookie_tossed_by_a_neighbour() -> None:
    """A neighbour can set `session` for the whole domain, and no `__Host-session`."""

    def check(read: Callable[[list[tuple[bytes, bytes]]], str | None]) -> None:
        assert read([(b"cookie", b"session=planted")]) is None
        assert read([(b"cookie", b"__Host-session=own; session=planted")]) == "own"
        assert read([(b"cookie", b"__Host-session=own; __Host-session=planted")]) is None

    def weak(headers: list[tuple[bytes, bytes]]) -> str | None:
        return dict(part.split("=", 1) for part in headers[0][1].decode().split("; ")).get("session")

    check(lambda headers: read_cookies(headers, ["session"], https=True).get("session"))
    caught(lambda: check(weak))
