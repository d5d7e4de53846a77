"""Tokens of another issuer, verified by the keys that it publishes (JWKS).

    keys = RemoteKeys("https://login.example/jwks.json", fetch=fetch)
    tokens = RemoteTokens(keys, issuer="https://login.example", audience="my-api")
    claims = await tokens.verify(text)

`fetch` gets a document: hand in one that is bounded in time and size and follows no redirect, such as httpx with
`follow_redirects=False`, or that of `archstone.security` for outgoing calls. The address is yours alone: nothing in a
token chooses it. Keys are kept for `keep_s`; an unknown `kid` asks again, at most once in `again_s`, so that guessing
ids makes no flood. If the issuer is away the keys that are known go on for `stale_s`.

A shared secret in a JWKS, a key without `kid`, of two with one `kid` the second, one that is for encryption, of an
algorithm that is not allowed, or too short, is passed over. Source: RFC 7517, RFC 8725.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from hashlib import sha256
from typing import Any, Final, cast

from joserfc.jwk import JWKRegistry

from archstone import world
from archstone.errors import BackendError, ConfigError
from archstone.security.claims import Claims, Expected
from archstone.security.errors import TokenError, TokenExpiredError
from archstone.security.jws import ALGORITHMS, LONGEST, Algorithm, Opener, VerifyingKey, key_fault, unverified_key_id

__all__ = ["JwksError", "RemoteKeys", "RemoteTokens", "keys_of_jwks"]

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets a document."""

_PUBLIC: Final[tuple[Algorithm, ...]] = ("EdDSA", "ES256", "RS256")
_BY_CURVE: Final[dict[tuple[object, object], Algorithm]] = {
    ("OKP", "Ed25519"): "EdDSA",
    ("EC", "P-256"): "ES256",
    ("RSA", None): "RS256",
}
_LONGEST_ID: Final = 200


class JwksError(BackendError, code="security.jwks"):
    """The keys of another issuer cannot be had."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(url, what)
        self.url = url
        self.what = what

    def __str__(self) -> str:
        return f"keys at {self.url}: {self.what}; look whether the issuer answers there"


class RemoteKeys:
    """The keys that an issuer publishes, kept for a while."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Fetch,
        keep_s: float = 300.0,
        again_s: float = 30.0,
        stale_s: float = 3_600.0,
        most: int = 20,
        longest_bytes: int = 65_536,
        algorithms: Collection[Algorithm] = _PUBLIC,
    ) -> None:
        """Ask nothing yet.

        Args:
            url: Of the JWKS.
            fetch: Gets it.
            keep_s: Seconds for which keys are not asked for again. Above 0.
            again_s: Least seconds between two questions, for an unknown key too. Above 0.
            stale_s: Seconds after the last answer for which keys go on if the issuer does not answer. At least keep_s.
            most: Keys that are looked at, at least 1; the rest is passed over.
            longest_bytes: Of the document.
            algorithms: Those that are accepted; HS256 is none of them.
        """
        if unknown := set(algorithms) - set(_PUBLIC):
            raise ConfigError(f"RemoteKeys: {', '.join(sorted(unknown))}: take of {', '.join(_PUBLIC)}")
        if not (keep_s > 0 and again_s > 0 and stale_s >= keep_s and most >= 1):
            raise ConfigError(
                "RemoteKeys: keep_s and again_s must be above 0, stale_s at least keep_s, most at least 1"
            )
        self.url = url
        self._fetch = fetch
        self._keep_s, self._again_s, self._stale_s = keep_s, again_s, stale_s
        self._most, self._longest_bytes = most, longest_bytes
        self._algorithms = frozenset(algorithms)
        self._opener = Opener({})
        self._keys: dict[str, VerifyingKey] = {}
        self._known_at_s = self._asked_at_s = -float("inf")
        self._asking = asyncio.Lock()

    async def opener(self, key_id: str) -> Opener:
        """Return what opens tokens of the issuer, after asking for its keys if `key_id` is not known or they are old.

        Raises:
            JwksError: No keys are known that are not too old.
        """
        # Who comes while somebody asks waits for that answer, unless the key is known already.
        if self._wanted(key_id) or (key_id not in self._keys and self._asking.locked()):
            async with self._asking:
                if self._wanted(key_id):
                    await self._ask()
        if world.monotonic() - self._known_at_s > self._stale_s:
            raise JwksError(self.url, "no answer for too long")
        return self._opener

    def _wanted(self, key_id: str) -> bool:
        now_s = world.monotonic()
        if now_s - self._asked_at_s < self._again_s:
            return False
        return key_id not in self._keys or now_s - self._known_at_s >= self._keep_s

    async def _ask(self) -> None:
        self._asked_at_s = world.monotonic()
        try:
            text = await self._fetch(self.url)
            self._keys = keys_of_jwks(
                text, algorithms=self._algorithms, most=self._most, longest_bytes=self._longest_bytes
            )
        except Exception as error:
            if self._known_at_s == -float("inf"):
                raise JwksError(self.url, "no answer that can be read") from error
            return  # those that are known go on
        self._opener = Opener(self._keys)
        self._known_at_s = world.monotonic()


class RemoteTokens:
    """Verifies the tokens of another issuer. Remembers those that it has verified, as `Tokens` does."""

    def __init__(
        self,
        keys: RemoteKeys,
        *,
        issuer: str,
        audience: str,
        kind: str = "at+jwt",
        leeway_s: float = 30.0,
        remembered: int = 10_000,
        is_revoked: Callable[[Claims], bool] | None = None,
    ) -> None:
        """Take the keys.

        Args:
            keys: Of the issuer.
            issuer: Its name, as its tokens have it.
            audience: Us.
            kind: The `typ` that is accepted; `jwt` for an issuer that does not know RFC 9068.
            leeway_s: Seconds that its clock may differ. In [0, 60].
            remembered: Verified tokens kept at most, at least 0. Each is forgotten when the keys are asked for anew.
            is_revoked: Asked at each verification.
        """
        if not 0 <= leeway_s <= 60:
            raise ConfigError(f"RemoteTokens: leeway_s={leeway_s} must be in [0, 60]")
        self._keys = keys
        self._expected = Expected(issuer=issuer, audience=audience, kind=kind, leeway_s=leeway_s)
        self._limit = remembered
        self._is_revoked = is_revoked
        self._seen: dict[bytes, Claims] = {}
        self._seen_under: Opener | None = None

    async def verify(self, text: str) -> Claims:
        """Return what a token says.

        Raises:
            TokenExpiredError: Its time is over.
            TokenError: It is not good.
            JwksError: The keys of its issuer cannot be had.
        """
        key_id = unverified_key_id(text)
        if len(text) > LONGEST or key_id is None or len(key_id) > _LONGEST_ID:
            raise TokenError("it is malformed")
        opener = await self._keys.opener(key_id)
        if opener is not self._seen_under:
            self._seen, self._seen_under = {}, opener
        claims = self._known(text, opener)
        if self._is_revoked is not None and self._is_revoked(claims):
            raise TokenError("it has been revoked")
        return claims

    def _known(self, text: str, opener: Opener) -> Claims:
        try:
            raw = text.encode("ascii")
        except UnicodeEncodeError:
            raise TokenError("it is malformed") from None
        mark = sha256(raw).digest()
        claims = self._seen.get(mark)
        if claims is not None:
            if world.now_us() < claims.expires_us:
                return claims
            del self._seen[mark]
            raise TokenExpiredError
        header, said = opener.open(raw)
        claims = self._expected.claims(header.kind, said)
        if self._limit:
            if len(self._seen) >= self._limit:
                del self._seen[next(iter(self._seen))]
            self._seen[mark] = claims
        return claims


def keys_of_jwks(
    text: bytes, *, algorithms: Collection[str] = _PUBLIC, most: int = 20, longest_bytes: int = 65_536
) -> dict[str, VerifyingKey]:
    """Return the public keys of a JWKS that tokens may be verified with, by their ids.

    Raises:
        ValueError: It is no JWKS, or too long.
    """
    if len(text) > longest_bytes:
        raise ValueError(f"{len(text)} bytes, limit {longest_bytes}")
    document: object = json.loads(text)
    entries: object = cast("dict[str, object]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no list of keys")  # noqa: TRY004 - what came is wrong, not how it was called
    found: dict[str, VerifyingKey] = {}
    for entry in cast("list[object]", entries)[:most]:
        key = _key_of(entry, algorithms) if isinstance(entry, dict) else None
        if key is not None:
            found.setdefault(key.id, key)
    return found


def _key_of(entry: Any, algorithms: Collection[str]) -> VerifyingKey | None:
    key_id, use = entry.get("kid"), entry.get("use", "sig")
    algorithm = _BY_CURVE.get((entry.get("kty"), entry.get("crv")))
    if algorithm is None or algorithm not in algorithms or entry.get("alg", algorithm) != algorithm or use != "sig":
        return None
    if not isinstance(key_id, str) or not 0 < len(key_id) <= _LONGEST_ID or algorithm not in ALGORITHMS:
        return None
    public = {name: entry[name] for name in ("kty", "crv", "x", "y", "n", "e") if isinstance(entry.get(name), str)}
    try:
        key = JWKRegistry.import_key(public)
    except Exception:  # noqa: BLE001 - whatever is wrong with a key of others, it is not used
        return None
    return None if key_fault(algorithm, key) else VerifyingKey(key_id, algorithm, key)
