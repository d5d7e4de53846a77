"""Attacks on access tokens. Each also succeeds against a weak verifier, so that the attack is known to be one."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from archstone import world
from archstone.context import Principal
from archstone.errors import ArchstoneError
from archstone.security import (
    Claims,
    KeyRing,
    RemoteKeys,
    RemoteTokens,
    Revocations,
    RevocationsStaleError,
    SigningKeys,
    Tokens,
)
from archstone.security.jws import Opener, packed, sign, unpacked
from archstone.security.keys import key_id

pytestmark = pytest.mark.simulated(limit_s=None)

ANN = Principal("ann", frozenset({"customer"}))
KEY = b"k" * 32
RING = KeyRing.generate("RS256")


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, proof = token.split(".")
    return json.loads(unpacked(header.encode())), json.loads(unpacked(claims.encode())), proof


def written(header: Any, claims: Any, key: bytes = b"") -> str:
    message = packed(json.dumps(header).encode()) + b"." + packed(json.dumps(claims).encode())
    return (message + b"." + (packed(hmac.digest(key, message, "sha256")) if key else b"")).decode()


def claims_now(**changes: Any) -> dict[str, Any]:
    now = world.now_us() // 1_000_000
    said = {
        "iss": "shop",
        "aud": "shop-api",
        "sub": "root",
        "roles": ["admin"],
        "jti": "1",
        "iat": now,
        "exp": now + 60,
    }
    return {**said, **changes}


def shop_tokens(keys: Any = None, **more: Any) -> Tokens:
    return Tokens(keys or SigningKeys((KEY,)), **{"issuer": "shop", "audience": "shop-api", **more})


def passes(verify: Callable[[str], object], token: str) -> bool:
    try:
        verify(token)
    except (ArchstoneError, AssertionError, KeyError):
        return False
    return True


async def passes_later(verify: Callable[[str], Awaitable[object]], token: str) -> bool:
    try:
        await verify(token)
    except (ArchstoneError, AssertionError, KeyError):
        return False
    return True


async def test_attack_algorithm_none() -> None:
    token = written({"alg": "none", "kid": key_id(KEY), "typ": "at+jwt"}, claims_now())

    def weak(token: str) -> None:
        header, _, proof = parts(token)
        assert header["alg"] == "none" or proof == "right"

    assert passes(weak, token)
    assert not passes(shop_tokens().verify, token)
    for spelled in ("None", "NONE", "nOnE", ""):
        assert not passes(
            shop_tokens().verify, written({"alg": spelled, "kid": key_id(KEY), "typ": "at+jwt"}, claims_now())
        )


async def test_attack_public_key_as_shared_secret() -> None:
    tokens = shop_tokens(RING)
    public = RING.keys[0].key.as_pem(private=False)
    token = written({"alg": "HS256", "kid": RING.keys[0].id, "typ": "at+jwt"}, claims_now(), public)

    def weak(token: str) -> None:
        header, _, proof = parts(token)
        message = token.rpartition(".")[0].encode()
        if header["alg"] == "HS256":  # whatever the header says, with the one key that there is
            assert packed(hmac.digest(public, message, "sha256")).decode() == proof

    assert passes(weak, token)
    assert not passes(tokens.verify, token)


async def test_attack_key_id_as_a_path(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "one").write_bytes(KEY)
    (tmp_path / "robots.txt").write_bytes(b"everybody knows this text here..")
    token = written(
        {"alg": "HS256", "kid": "../robots.txt", "typ": "at+jwt"}, claims_now(), b"everybody knows this text here.."
    )

    def weak(token: str) -> None:
        header, _, proof = parts(token)
        key = (tmp_path / "keys" / header["kid"]).read_bytes()
        assert packed(hmac.digest(key, token.rpartition(".")[0].encode(), "sha256")).decode() == proof

    assert passes(weak, token)
    assert not passes(shop_tokens().verify, token)
    for kid in ("/dev/null", "' OR 1=1 --", "\x00", "one|id", 7, None, ["a"], {"a": 1}):
        assert not passes(
            shop_tokens().verify, written({"alg": "HS256", "kid": kid, "typ": "at+jwt"}, claims_now(), b"x")
        )


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
async def test_attack_a_key_that_the_token_brings_along(name: str) -> None:
    mine = b"m" * 32
    brought = {"kty": "oct", "k": packed(mine).decode()} if name == "jwk" else "https://evil.example/keys"
    token = written({"alg": "HS256", "kid": key_id(mine), "typ": "at+jwt", name: brought}, claims_now(), mine)
    fetched = {"https://evil.example/keys": mine}

    def weak(token: str) -> None:
        header, _, proof = parts(token)
        said = header[name]
        key = unpacked(said["k"].encode()) if isinstance(said, dict) else fetched[said]
        assert packed(hmac.digest(key, token.rpartition(".")[0].encode(), "sha256")).decode() == proof

    assert passes(weak, token)
    assert not passes(shop_tokens().verify, token)
    # Signed by a key of ours it is refused as well: nobody who follows such a header later is led astray.
    ours = written({"alg": "HS256", "kid": key_id(KEY), "typ": "at+jwt", name: brought}, claims_now(), KEY)
    assert not passes(shop_tokens().verify, ours)


class ForgetfulTokens:
    """Weak: checks the signature and nothing that the token says but what is named."""

    def __init__(self, *checks: str) -> None:
        self.checks = checks

    def verify(self, token: str) -> dict[str, Any]:
        from joserfc.jwk import OctKey

        from archstone.security.jws import VerifyingKey

        _, said = Opener({key_id(KEY): VerifyingKey(key_id(KEY), "HS256", OctKey.import_key(KEY))}).open(token.encode())
        right = {"iss": "shop", "aud": "shop-api"}
        for check in self.checks:
            if check == "exp":
                assert said["exp"] > world.now_us() / 1e6
            elif check == "nbf":
                assert said.get("nbf", 0) <= world.now_us() / 1e6
            else:
                assert said[check] == right[check]
        return said


GOOD = {"alg": "HS256", "kid": key_id(KEY), "typ": "at+jwt"}


async def test_attack_an_expired_token() -> None:
    now = world.now_us() // 1_000_000
    token = sign(GOOD, claims_now(iat=now - 900, exp=now), SigningKeysKey())
    assert passes(ForgetfulTokens("iss", "aud").verify, token)
    assert not passes(shop_tokens().verify, token)


async def test_attack_a_token_before_its_time() -> None:
    token = sign(GOOD, claims_now(nbf=world.now_us() // 1_000_000 + 30), SigningKeysKey())
    assert passes(ForgetfulTokens("iss", "aud", "exp").verify, token)
    assert not passes(shop_tokens().verify, token)


async def test_attack_a_token_for_another_audience() -> None:
    token = sign(GOOD, claims_now(aud="bank-api"), SigningKeysKey())
    assert passes(ForgetfulTokens("iss", "exp", "nbf").verify, token)
    assert not passes(shop_tokens().verify, token)
    for aud in ([], ["bank-api"], "shop-api2", "", None, {"shop-api": 1}):
        assert not passes(shop_tokens().verify, sign(GOOD, claims_now(aud=aud), SigningKeysKey()))


async def test_attack_a_token_of_another_issuer() -> None:
    token = sign(GOOD, claims_now(iss="https://evil.example"), SigningKeysKey())
    assert passes(ForgetfulTokens("aud", "exp", "nbf").verify, token)
    assert not passes(shop_tokens().verify, token)


async def test_attack_a_token_made_for_another_use() -> None:
    for kind in ("JWT", "principal+jwt", "logout+jwt", ""):
        token = sign({**GOOD, "typ": kind}, claims_now(), SigningKeysKey())
        assert passes(ForgetfulTokens("iss", "aud", "exp", "nbf").verify, token)
        assert not passes(shop_tokens().verify, token)


async def test_attack_a_revoked_token_that_is_remembered() -> None:
    revoked: set[str] = set()

    def is_revoked(claims: Claims) -> bool:
        return claims.token_id in revoked

    tokens = shop_tokens(is_revoked=is_revoked)
    remembered: dict[str, Claims] = {}

    def weak(token: str) -> Claims:
        if token not in remembered:
            remembered[token] = tokens.verify(token)
        return remembered[token]

    token = tokens.issue(ANN).text
    assert passes(tokens.verify, token)
    assert passes(weak, token)
    revoked.add(tokens.verify(token).token_id)
    assert passes(weak, token)
    assert not passes(tokens.verify, token)


async def test_attack_a_token_that_is_remembered_beyond_its_end() -> None:
    tokens = shop_tokens(lifetime_s=60)
    token = tokens.issue(ANN).text
    remembered = {token: tokens.verify(token)}  # weak: for ever
    await asyncio.sleep(60)
    assert passes(remembered.__getitem__, token)
    assert not passes(tokens.verify, token)


async def test_attack_a_token_of_a_key_that_was_taken_out() -> None:
    ring = KeyRing.generate("EdDSA")
    tokens = shop_tokens(ring, lifetime_s=86_400)
    token = tokens.issue(ANN).text
    remembered = {token: tokens.verify(token)}  # weak: for ever
    newer = ring.rotated(announce_s=0, keep_s=100)
    tokens.use(newer)
    assert passes(tokens.verify, token)
    await asyncio.sleep(100)
    assert passes(remembered.__getitem__, token)
    assert not passes(tokens.verify, token)


class AwayStore:
    """A store of revocations that stops answering."""

    away = False
    shared = True

    async def add(self, entries: object) -> None:
        raise AssertionError

    async def since(self, at_us: int) -> list[Any]:
        if self.away:
            raise OSError("no route")
        return []

    def listen(self, news: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


async def test_attack_cutting_off_the_list_of_revocations() -> None:
    store = AwayStore()
    async with Revocations(store, stale_s=30) as revocations:
        tokens = shop_tokens(is_revoked=revocations.is_revoked)
        token = tokens.issue(ANN).text

        def fails_open(claims: Claims) -> bool:
            try:
                return revocations.is_revoked(claims)
            except RevocationsStaleError:
                return False

        weak = shop_tokens(is_revoked=fails_open)
        assert passes(tokens.verify, token)
        store.away = True
        await asyncio.sleep(40)
        assert passes(weak.verify, token)
        assert not passes(tokens.verify, token)
        store.away = False
        await asyncio.sleep(2)
        assert passes(tokens.verify, token)


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


async def test_attack_a_shared_secret_among_public_keys() -> None:
    shared = {"kty": "oct", "k": packed(KEY).decode(), "kid": "s", "alg": "HS256"}

    async def fetch(url: str) -> bytes:
        return jwks(shared, RING.jwks()["keys"][0])

    async def weak(token: str) -> None:
        header, _, proof = parts(token)
        keys = {each["kid"]: each for each in json.loads(await fetch(""))["keys"]}
        key = unpacked(keys[header["kid"]]["k"].encode())
        assert packed(hmac.digest(key, token.rpartition(".")[0].encode(), "sha256")).decode() == proof

    tokens = RemoteTokens(RemoteKeys("https://x.example/jwks", fetch=fetch), issuer="shop", audience="shop-api")
    token = written({"alg": "HS256", "kid": "s", "typ": "at+jwt"}, claims_now(), KEY)
    assert await passes_later(weak, token)
    assert not await passes_later(tokens.verify, token)
    assert await passes_later(tokens.verify, shop_tokens(RING).issue(ANN).text)


async def test_attack_a_flood_of_unknown_key_ids() -> None:
    asked: list[str] = []

    async def fetch(url: str) -> bytes:
        asked.append(url)
        return jwks(RING.jwks()["keys"][0])

    async def weak(token: str) -> None:
        keys = json.loads(await fetch("weak"))["keys"]
        assert parts(token)[0]["kid"] in {each["kid"] for each in keys}

    tokens = RemoteTokens(RemoteKeys("strong", fetch=fetch), issuer="shop", audience="shop-api")
    for number in range(50):
        token = written({"alg": "RS256", "kid": f"guess-{number}", "typ": "at+jwt"}, claims_now(), b"x")
        assert not await passes_later(weak, token)
        assert not await passes_later(tokens.verify, token)
    assert (asked.count("weak"), asked.count("strong")) == (50, 1)


async def test_attack_a_key_of_one_algorithm_used_by_another() -> None:
    """A JWKS entry that says RS256 and holds a curve, or the other way round, opens nothing."""
    ring = KeyRing.generate("ES256")
    entry = ring.jwks()["keys"][0]
    for changes in ({"alg": "RS256"}, {"alg": "HS256"}, {"use": "enc"}, {"kid": ""}, {"crv": "P-384"}, {"kid": 5}):

        async def fetch(url: str, changes: Any = changes) -> bytes:
            return jwks({**entry, **changes})

        tokens = RemoteTokens(RemoteKeys("u", fetch=fetch), issuer="shop", audience="shop-api")
        assert not await passes_later(tokens.verify, shop_tokens(ring).issue(ANN).text)

        def weak(token: str, changes: Any = changes) -> None:
            """Takes the key, whatever the entry says that it is for."""
            from joserfc import jwt
            from joserfc.jwk import ECKey

            said = {**entry, **changes}
            jwt.decode(token, ECKey.import_key({name: said[name] for name in ("kty", "x", "y")} | {"crv": "P-256"}))

        assert passes(weak, shop_tokens(ring).issue(ANN).text)

    async def good(url: str) -> bytes:
        return jwks(entry)

    honest = RemoteTokens(RemoteKeys("u", fetch=good), issuer="shop", audience="shop-api")  # the entry as it was
    assert await passes_later(honest.verify, shop_tokens(ring).issue(ANN).text)


def SigningKeysKey() -> Any:
    from joserfc.jwk import OctKey

    return OctKey.import_key(KEY)
