"""Tokens against forged requests (CSRF), for applications whose clients say nothing of where they come from.

Where browsers of the last years are all that comes, `SameOrigin` does the same with nothing in the page. A token is for
the rest: old browsers, embedded ones, proxies that strip headers, and who must by some rule.

    tokens = CsrfTokens(key)                        # 32 bytes of chance, the same in all processes
    app.add_middleware(DoubleSubmit, tokens=tokens, session=session_of)

The token is set as a readable cookie; a script sends it again in the header `X-CSRF-Token`. A form without script holds
`tokens.issue(session)` in a hidden field, which its handler gives to `tokens.check`.

Promise: a token holds for the session that it was made for and for its lifetime, and is made with a key: one that was
planted by a neighbour, or taken from another session, is none. Each is written differently, so that its length under
compression tells nothing (BREACH).

Source: OWASP, Cross-Site Request Forgery Prevention Cheat Sheet, "Signed Double-Submit Cookie".
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from archstone import world
from archstone.errors import ConfigError, DeniedError
from archstone.security.http.asgi import SAFE, App, Message, Receive, Scope, Send, header_of, is_https, refuse
from archstone.security.http.cookies import HostCookie, read_cookies

__all__ = ["CsrfError", "CsrfTokens", "DoubleSubmit"]

HEADER: Final = b"x-csrf-token"
COOKIE: Final = "csrf"
_KEY_BYTES: Final = 32
_CHANCE_BYTES: Final = 17
_TIME_BYTES: Final = 8
_MAC_BYTES: Final = 32
_LONGEST: Final = 200


class CsrfError(DeniedError, code="security.csrf", status=403):
    """A request that changes something came without the token of its session. Nothing was done."""

    def __str__(self) -> str:
        return "the token of this form is missing, old, or of another session: nothing has been done; load it again"


class CsrfTokens:
    """Makes and checks tokens, each bound to a session."""

    def __init__(self, key: bytes, *, lifetime_s: int = 12 * 3600) -> None:
        """Take the key.

        Args:
            key: At least 32 bytes of chance, the same in all processes, and used for nothing else.
            lifetime_s: How long a token holds, seconds. Above 0.
        """
        if len(key) < _KEY_BYTES or lifetime_s <= 0:
            told = f"a key of {len(key)} bytes, {lifetime_s} s"
            raise ConfigError(f"CSRF tokens: {told}: take at least {_KEY_BYTES} bytes, and above 0 s")
        self._key = key
        self.lifetime_s = lifetime_s

    def issue(self, session: str) -> str:
        """Return a token for a session; each is another text.

        Args:
            session: What names the session and changes at sign-in. For somebody who is not signed in, the name of
                their browser's session before that.
        """
        body = world.now_us().to_bytes(_TIME_BYTES) + world.secret_bytes(_CHANCE_BYTES)
        return base64.urlsafe_b64encode(body + self._mac(body, session)).decode()

    def check(self, token: str, session: str) -> None:
        """Refuse what is no token of the session.

        Raises:
            CsrfError: It is missing, changed, old, or made for another session.
        """
        try:
            whole = base64.b64decode(token[:_LONGEST].encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise CsrfError from error
        body, mac = whole[:-_MAC_BYTES], whole[-_MAC_BYTES:]
        made = len(body) == _TIME_BYTES + _CHANCE_BYTES and hmac.compare_digest(mac, self._mac(body, session))
        if not made or not 0 <= world.now_us() - int.from_bytes(body[:_TIME_BYTES]) <= self.lifetime_s * 1_000_000:
            raise CsrfError

    def _mac(self, body: bytes, session: str) -> bytes:
        return hmac.digest(self._key, body + session.encode("utf-8", "surrogatepass"), hashlib.sha256)


class DoubleSubmit:
    """An ASGI application that takes changes only with the token twice: in a cookie, and in a header by a script."""

    def __init__(self, app: App, *, tokens: CsrfTokens, session: Callable[[Scope], str]) -> None:
        """Stand in front of `app`.

        Args:
            app: What is guarded.
            tokens: Makes and checks them.
            session: Says what names the session of a request; empty for none.
        """
        self._app = app
        self._tokens = tokens
        self._session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        https, session = is_https(scope), self._session(scope)
        sent = read_cookies(scope["headers"], [COOKIE], https=https).get(COOKIE, "")
        good = self._is_good(sent, session)
        if scope["method"] not in SAFE:
            again = (header_of(scope, HEADER) or b"").decode("latin-1")
            if not good or not hmac.compare_digest(again.encode(), sent.encode()):
                await refuse(send, CsrfError.status, CsrfError.code, str(CsrfError()))
                return
        await self._app(scope, receive, send if good else self._setting(send, session, https=https))

    def _is_good(self, token: str, session: str) -> bool:
        try:
            self._tokens.check(token, session)
        except CsrfError:
            return False
        return True

    def _setting(self, send: Send, session: str, *, https: bool) -> Send:
        """Return a `send` that gives the browser a token with the answer."""
        cookie = HostCookie(
            COOKIE, self._tokens.issue(session), self._tokens.lifetime_s, same_site="Strict", readable=True
        )

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), cookie.header(https=https)]
            await send(message)

        return sending
