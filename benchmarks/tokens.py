"""What checking an access token costs: one that is new, and one that comes again, HS256 and EdDSA."""

import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Bench, Row, nanoseconds_per_call

bench = Bench(
    "tokens",
    shows="the cost of checking an access token: signature, type, issuer, audience, times, and whether it was revoked",
    hides="the way to the store of revocations, which is asked once a second and not by token; a peer's own cache",
)

ISSUER, AUDIENCE = "shop", "shop-api"
NEW = 512
"""Tokens that a new-token run goes through in turns; ours forgets each at once."""


def claims(number: int) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": ISSUER, "aud": AUDIENCE, "sub": f"user-{number}", "roles": ["customer"], "jti": str(number), "iat": now,
        "nbf": now, "exp": now + 86_400,
    }  # fmt: skip


def pem(algorithm: str) -> Any:
    """Return the key that all contenders sign with: bytes for HS256, PEM for EdDSA."""
    from archstone.security import KeyRing

    return KeyRing.generate("HS256" if algorithm == "HS256" else "EdDSA").keys[0]


def ours(algorithm: str, quick: bool, *, seen: bool) -> float:
    from archstone.context import Principal
    from archstone.security import KeyRing, Tokens

    revoked: set[str] = set()
    ring = KeyRing((pem(algorithm),))
    tokens = Tokens(
        ring, issuer=ISSUER, audience=AUDIENCE, lifetime_s=86_400, remembered=10_000 if seen else 0,
        is_revoked=lambda said: said.token_id in revoked,
    )  # fmt: skip
    texts = [tokens.issue(Principal(f"user-{n}", frozenset({"customer"}))).text for n in range(NEW)]
    return measured(tokens.verify, texts, quick)


def measured(verify: Callable[[str], object], texts: list[str], quick: bool) -> float:
    for text in texts:
        verify(text)

    def run(count: int) -> None:
        for number in range(count):
            verify(texts[number % NEW])

    return nanoseconds_per_call(run, quick=quick)


@bench.contender("archstone")
def archstone_hs256_new(quick: bool) -> float:
    return ours("HS256", quick, seen=False)


@bench.contender("archstone")
def archstone_hs256_seen(quick: bool) -> float:
    return ours("HS256", quick, seen=True)


@bench.contender("archstone", "cryptography")
def archstone_eddsa_new(quick: bool) -> float:
    return ours("EdDSA", quick, seen=False)


@bench.contender("archstone", "cryptography")
def archstone_eddsa_seen(quick: bool) -> float:
    return ours("EdDSA", quick, seen=True)


def joserfc(algorithm: str, quick: bool) -> float:
    import warnings

    from joserfc import jwt
    from joserfc.jwk import OctKey, OKPKey

    warnings.simplefilter("ignore")
    raw = pem(algorithm)
    key = public = (OctKey if algorithm == "HS256" else OKPKey).import_key(raw.secret)
    if algorithm != "HS256":
        public = OKPKey.import_key(key.as_dict(private=False))
    needed = {"essential": True}
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE},
        sub=needed, jti=needed, iat=needed, exp=needed,
    )  # fmt: skip
    revoked: set[str] = set()

    def verify(text: str) -> None:
        token = jwt.decode(text, public, algorithms=[algorithm])
        registry.validate(token.claims)
        if token.header.get("typ") != "at+jwt" or token.claims["jti"] in revoked:
            raise ValueError

    header = {"alg": algorithm, "typ": "at+jwt"}
    return measured(verify, [jwt.encode(header, claims(n), key, algorithms=[algorithm]) for n in range(NEW)], quick)


@bench.contender("joserfc")
def joserfc_hs256(quick: bool) -> float:
    return joserfc("HS256", quick)


@bench.contender("joserfc")
def joserfc_eddsa(quick: bool) -> float:
    return joserfc("EdDSA", quick)


def authlib(algorithm: str, quick: bool) -> float:
    import warnings

    warnings.simplefilter("ignore")
    from authlib.jose import JsonWebToken

    raw = pem(algorithm)
    jwt = JsonWebToken([algorithm])
    needed = {"essential": True}
    options = {
        "iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, "value": AUDIENCE}, "sub": needed,
        "jti": needed, "iat": needed, "exp": needed,
    }  # fmt: skip
    revoked: set[str] = set()
    if algorithm == "HS256":
        key: Any = raw.secret
        public = key
    else:
        from authlib.jose import OKPKey

        key = OKPKey.import_key(raw.secret)
        public = OKPKey.import_key(key.as_dict(is_private=False))

    def verify(text: str) -> None:
        token = jwt.decode(text, public, claims_options=options)
        token.validate()
        if token.header.get("typ") != "at+jwt" or token["jti"] in revoked:
            raise ValueError

    header = {"alg": algorithm, "typ": "at+jwt"}
    return measured(verify, [jwt.encode(header, claims(n), key).decode() for n in range(NEW)], quick)


@bench.contender("authlib")
def authlib_hs256(quick: bool) -> float:
    return authlib("HS256", quick)


@bench.contender("authlib")
def authlib_eddsa(quick: bool) -> float:
    return authlib("EdDSA", quick)


def pyjwt(algorithm: str, quick: bool) -> float:
    import jwt

    raw = pem(algorithm)
    secret = raw.secret
    public = secret if algorithm == "HS256" else raw.key.public_key
    revoked: set[str] = set()

    def verify(text: str) -> None:
        token = jwt.decode_complete(
            text, public, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER,
            options={"require": ["exp", "iat", "sub", "jti"]},
        )  # fmt: skip
        if token["header"].get("typ") != "at+jwt" or token["payload"]["jti"] in revoked:
            raise ValueError

    texts = [jwt.encode(claims(n), secret, algorithm, headers={"typ": "at+jwt"}) for n in range(NEW)]
    return measured(verify, texts, quick)


@bench.contender("pyjwt")
def pyjwt_hs256(quick: bool) -> float:
    return pyjwt("HS256", quick)


@bench.contender("pyjwt")
def pyjwt_eddsa(quick: bool) -> float:
    return pyjwt("EdDSA", quick)


@bench.contender("cryptography")
def floor_hs256(quick: bool) -> float:
    import base64
    import hmac

    secret, message = b"k" * 32, b"x" * 300
    proof = base64.urlsafe_b64encode(hmac.digest(secret, message, "sha256"))

    def run(count: int) -> None:
        for _ in range(count):
            hmac.compare_digest(hmac.digest(secret, message, "sha256"), base64.urlsafe_b64decode(proof))

    return nanoseconds_per_call(run, quick=quick)


@bench.contender("cryptography")
def floor_eddsa(quick: bool) -> float:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, message = Ed25519PrivateKey.generate(), b"x" * 300
    public, proof = private.public_key(), private.sign(message)

    def run(count: int) -> None:
        for _ in range(count):
            public.verify(proof, message)

    return nanoseconds_per_call(run, quick=quick)


for algorithm in ("hs256", "eddsa"):
    peers = [f"{peer}_{algorithm}" for peer in ("joserfc", "authlib", "pyjwt")]
    name = "HS256" if algorithm == "hs256" else "EdDSA"
    bench.row(
        Row(f"verify {name}, new", "ns/token", goal=1.0),
        ours=f"archstone_{algorithm}_new",
        peers=peers,
        beside=[f"floor_{algorithm}"],
    )
    bench.row(Row(f"verify {name}, seen before", "ns/token", goal=3.0), ours=f"archstone_{algorithm}_seen", peers=peers)

if __name__ == "__main__":
    bench.main()
