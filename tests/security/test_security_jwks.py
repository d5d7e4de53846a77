"""Keys of another issuer: kept for a while, asked for once, bounded, and only what may verify."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone.context import Principal
from archstone.errors import ConfigError
from archstone.security import (
    Claims,
    JwksError,
    KeyRing,
    RemoteKeys,
    RemoteTokens,
    TokenError,
    TokenExpiredError,
    Tokens,
)
from archstone.security.jwks import keys_of_jwks

pytestmark = pytest.mark.simulated(limit_s=None)

ANN = Principal("ann", frozenset({"customer"}))
RING = KeyRing.generate("EdDSA")


class Issuer:
    """Publishes its keys, and counts who asks."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self.asked = 0
        self.away = False
        self.text: bytes | None = None

    async def fetch(self, url: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0.05)
        if self.away:
            raise OSError("no route")
        return self.text if self.text is not None else json.dumps(self.ring.jwks()).encode()

    def token(self, **more: Any) -> str:
        return Tokens(self.ring, issuer="login", audience="api", **more).issue(ANN).text


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(RING)


def remote(issuer: Issuer, **more: Any) -> RemoteTokens:
    return RemoteTokens(
        RemoteKeys("https://login.example/jwks", fetch=issuer.fetch), issuer="login", audience="api", **more
    )


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_a_token_of_another_issuer_is_verified_by_its_jwks(algorithm: Any) -> None:
    issuer = Issuer(KeyRing.generate(algorithm))
    assert (await remote(issuer).verify(issuer.token())).principal == ANN


async def test_keys_are_asked_for_once_however_many_come(issuer: Issuer) -> None:
    tokens = remote(issuer)
    text = issuer.token()
    await asyncio.gather(*(tokens.verify(text) for _ in range(20)))
    assert issuer.asked == 1
    await asyncio.sleep(299)
    await tokens.verify(issuer.token())
    assert issuer.asked == 1
    await asyncio.sleep(1)
    await tokens.verify(issuer.token())
    assert issuer.asked == 2


async def test_a_new_key_is_found_when_it_is_first_seen(issuer: Issuer) -> None:
    tokens = remote(issuer)
    await tokens.verify(issuer.token())
    issuer.ring = KeyRing.generate("EdDSA")
    with pytest.raises(TokenError):
        await tokens.verify(issuer.token())  # asked a moment ago: not again so soon
    await asyncio.sleep(30)
    await tokens.verify(issuer.token())
    assert issuer.asked == 2


async def test_an_issuer_that_is_away_is_believed_for_a_while(issuer: Issuer) -> None:
    tokens = remote(issuer)
    await tokens.verify(issuer.token())
    issuer.away = True
    await asyncio.sleep(3_599)
    await tokens.verify(issuer.token())
    await asyncio.sleep(10)
    with pytest.raises(JwksError, match="no answer for too long"):
        await tokens.verify(issuer.token())


async def test_an_issuer_that_never_answered_is_an_error_of_the_backend(issuer: Issuer) -> None:
    issuer.away = True
    with pytest.raises(JwksError) as caught:
        await remote(issuer).verify(issuer.token())
    assert caught.value.status == 503


async def test_what_was_seen_is_remembered_and_still_ends(issuer: Issuer) -> None:
    revoked: set[str] = set()

    def is_revoked(claims: Claims) -> bool:
        return claims.token_id in revoked

    tokens = remote(issuer, is_revoked=is_revoked, leeway_s=30)
    text = issuer.token(lifetime_s=100)
    claims = await tokens.verify(text)
    assert len(tokens._seen) == 1
    revoked.add(claims.token_id)
    with pytest.raises(TokenError, match="revoked"):
        await tokens.verify(text)
    revoked.clear()
    await asyncio.sleep(129)
    await tokens.verify(text)
    await asyncio.sleep(1)
    with pytest.raises(TokenExpiredError):
        await tokens.verify(text)


async def test_the_document_is_bounded(issuer: Issuer) -> None:
    issuer.text = b" " * 65_537
    with pytest.raises(JwksError):
        await remote(issuer).verify(issuer.token())


def test_what_is_passed_over() -> None:
    good = RING.jwks()["keys"][0]
    many = [{**good, "kid": str(number)} for number in range(30)]
    assert len(keys_of_jwks(json.dumps({"keys": many}).encode(), most=20)) == 20
    for wrong in (
        {**good, "alg": "ES256"}, {**good, "use": "enc"}, {**good, "kid": None}, {**good, "crv": "X25519"},
        {**good, "x": "AA"}, {**good, "x": 7}, {"kty": "oct", "k": "AAAA", "kid": "s"}, 7, None, [],
    ):  # fmt: skip
        assert keys_of_jwks(json.dumps({"keys": [wrong]}).encode()) == {}
    twice = [good, {**KeyRing.generate("EdDSA").jwks()["keys"][0], "kid": good["kid"]}]
    found = keys_of_jwks(json.dumps({"keys": twice}).encode())
    assert found[good["kid"]].key.as_dict(private=False)["x"] == good["x"]


def test_a_short_rsa_key_is_passed_over() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from joserfc.jwk import RSAKey

    pem = rsa.generate_private_key(public_exponent=65_537, key_size=1_024).public_key()
    numbers = RSAKey(pem, pem).as_dict(private=False)
    entry = {**numbers, "kid": "short", "alg": "RS256"}
    assert keys_of_jwks(json.dumps({"keys": [entry]}).encode()) == {}


@given(text=st.binary(max_size=100) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["keys", "kid", "kty", "x", "alg"]), inner, max_size=4), max_leaves=10,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_document_gives_keys_or_a_value_error(text: bytes) -> None:
    with suppress(ValueError, RecursionError):
        assert keys_of_jwks(text) == {}


def test_settings_are_checked(issuer: Issuer) -> None:
    for said in ({"keep_s": 0}, {"again_s": 0}, {"keep_s": 10, "stale_s": 5}, {"most": 0}, {"algorithms": ["HS256"]}):
        with pytest.raises(ConfigError):
            RemoteKeys("u", fetch=issuer.fetch, **said)
    with pytest.raises(ConfigError, match="leeway_s=61"):
        remote(issuer, leeway_s=61)
