"""Headers, forged requests, foreign readers, cookies: what passes, and what is set."""

from collections.abc import Callable
from typing import Any

import pytest
from attack_stage import Target, asked, header

from archstone import world
from archstone.errors import ConfigError
from archstone.security.http import (
    NONCE,
    STRICT,
    Cors,
    CsrfTokens,
    DoubleSubmit,
    Origins,
    SameOrigin,
    SecureHeaders,
    SecurityHeaders,
)

OWN = (("origin", "https://shop.test"), ("sec-fetch-site", "same-origin"))
KEY = b"k" * 32


async def test_our_own_pages_pass_and_so_do_those_that_are_trusted() -> None:
    target = Target()
    app = SameOrigin(target, trusted=("https://admin.test",))
    assert (await asked(app, "POST", "/", *OWN)).status == 200
    assert (
        await asked(app, "POST", "/", ("origin", "https://admin.test"), ("sec-fetch-site", "cross-site"))
    ).status == 200
    assert (await asked(app, "GET", "/", ("sec-fetch-site", "cross-site"))).status == 200
    assert (await asked(app, "POST", "/", ("sec-fetch-site", "none"))).status == 200
    with pytest.raises(ConfigError):
        SameOrigin(target, trusted=("https://*.admin.test",))


def session_of(scope: Any) -> str:
    return dict(scope["headers"]).get(b"x-session", b"").decode()


def doubled(app: Any) -> DoubleSubmit:
    return DoubleSubmit(app, tokens=CsrfTokens(KEY), session=session_of)


async def submitted(guard: Callable[[Any], Any], cookie: str, again: str, session: str = "s1") -> int:
    headers = (("cookie", f"__Host-csrf={cookie}"), ("x-csrf-token", again), ("x-session", session))
    target = Target()
    answer = await asked(guard(target), "POST", "/", *headers)
    assert (answer.status == 200) == (target.reached == ["POST"])
    return answer.status


async def test_a_token_is_given_with_a_page_and_taken_with_a_form() -> None:
    page = await asked(doubled(Target()), "GET", "/", ("x-session", "s1"))
    cookie = header(page, "set-cookie") or ""
    assert cookie.startswith("__Host-csrf=")
    assert set(cookie.split("; ")[1:]) == {"Path=/", "Max-Age=43200", "SameSite=Strict", "Secure"}
    token = cookie.partition(";")[0].partition("=")[2]
    assert await submitted(doubled, token, token) == 200
    kept = await asked(doubled(Target()), "GET", "/", ("x-session", "s1"), ("cookie", f"__Host-csrf={token}"))
    assert header(kept, "set-cookie") is None


def listed(app: Any) -> Cors:
    return Cors(app, Origins(("https://app.test",), credentials=True, exposed=("x-total",)))


async def test_a_listed_origin_may_read_and_its_preflight_is_kept() -> None:
    target = Target((b"access-control-allow-origin", b"*"))
    answer = await asked(listed(target), "GET", "/", ("origin", "https://app.test"))
    assert header(answer, "access-control-allow-origin") == "https://app.test", "the application's own is replaced"
    assert header(answer, "access-control-expose-headers") == "x-total"
    asks = ("access-control-request-method", "PUT")
    flight = await asked(listed(target), "OPTIONS", "/", ("origin", "https://app.test"), asks)
    assert (flight.status, header(flight, "access-control-max-age")) == (204, "600")
    refused = await asked(listed(target), "OPTIONS", "/", ("origin", "https://evil.test"), asks)
    assert (refused.status, header(refused, "access-control-allow-methods")) == (403, None)
    assert target.reached == ["GET"]


async def test_headers_of_the_guide_are_sent_and_hsts_over_tls_alone() -> None:
    app = SecureHeaders(Target((b"referrer-policy", b"no-referrer"), (b"x-powered-by", b"PHP")))
    secure, plain = await asked(app, "GET"), await asked(app, "GET", scheme="http")
    assert header(secure, "strict-transport-security") == "max-age=31536000; includeSubDomains"
    assert header(plain, "strict-transport-security") is None
    assert header(secure, "x-content-type-options") == "nosniff"
    assert header(secure, "x-frame-options") == "DENY"
    assert header(secure, "cross-origin-opener-policy") == "same-origin"
    assert header(secure, "cross-origin-resource-policy") == "same-origin"
    assert "camera=()" in (header(secure, "permissions-policy") or "")
    assert header(secure, "referrer-policy") == "no-referrer", "the application's own stays"
    assert header(secure, "x-powered-by") is None
    assert header(secure, "x-xss-protection") is None
    with pytest.raises(ConfigError, match="preload"):
        SecurityHeaders(hsts_preload=True, hsts_s=3600)
    assert NONCE in STRICT["script-src"]


def test_the_world_gives_the_chance_of_tokens() -> None:
    class Told(world.World):
        def secret_bytes(self, count: int) -> bytes:
            return b"\x07" * count

    with world.use(Told()):
        assert len(CsrfTokens(KEY).issue("s")) == 76
