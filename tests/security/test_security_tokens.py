"""Access tokens: what is accepted, and every hostile one that is not."""

import asyncio
import base64
import hmac
import json
import pickle
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone import world
from archstone.context import NOBODY, Principal, Program
from archstone.errors import ConfigError
from archstone.security import Claims, PrincipalAssertions, SigningKeys, TokenError, TokenExpiredError, Tokens
from archstone.security.keys import key_id

ANN = Principal("ann", frozenset({"customer", "admin"}))
KEY = b"k" * 32


def tokens(key: bytes = KEY, **options: Any) -> Tokens:
    return Tokens(SigningKeys((key,)), **{"issuer": "shop", "audience": "shop-api", **options})


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forged(header: Any = None, claims: Any = None, *, key: bytes = KEY) -> str:
    """Return a token as we would make it, but for what is given."""
    header = {"alg": "HS256", "kid": key_id(KEY), "typ": "at+jwt"} if header is None else header
    claims = good_claims() if claims is None else claims
    body = f"{segment(header)}.{segment(claims)}"
    return f"{body}.{segment(hmac.new(key, body.encode(), sha256).digest())}"


def good_claims(**changes: Any) -> dict[str, Any]:
    now = world.now_us() // 1_000_000
    claims = {
        "iss": "shop",
        "aud": "shop-api",
        "sub": "ann",
        "roles": ["admin"],
        "jti": "1",
        "iat": now,
        "exp": now + 9,
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


async def test_a_token_says_who_asks() -> None:
    issued = tokens().issue(ANN)
    claims = tokens().verify(issued.text)
    assert claims.principal == ANN
    assert issued.expires_in_s == 900
    assert claims.expires_us - claims.issued_us == 900_000_000


@pytest.mark.parametrize("seen_before", [True, False])
async def test_a_token_is_good_until_it_expires_and_not_after(seen_before: bool) -> None:
    issuer = tokens()
    issued = issuer.issue(ANN)
    await asyncio.sleep(899.999)
    verifier = issuer if seen_before else tokens()
    assert verifier.verify(issued.text).principal == ANN
    await asyncio.sleep(0.001)
    for asked in (verifier, tokens()):
        with pytest.raises(TokenExpiredError, match="get a new one with the refresh token"):
            asked.verify(issued.text)


def hostile() -> dict[str, str]:
    good = forged()
    header, claims, signature = good.split(".")
    ours = {"alg": "HS256", "kid": key_id(KEY), "typ": "at+jwt"}
    return {
        "empty": "",
        "no dots": "abc",
        "two dots": "..",
        "not base64": "ä.ö.ü",
        "algorithm none": f"{segment({**ours, 'alg': 'none'})}.{claims}.",
        "algorithm None with signature": f"{segment({**ours, 'alg': 'None'})}.{claims}.{signature}",
        "another algorithm": forged({**ours, "alg": "HS512"}),
        "a public-key algorithm": forged({**ours, "alg": "RS256"}),
        "no algorithm": forged({"kid": key_id(KEY), "typ": "at+jwt"}),
        "another key under our id": forged(key=b"x" * 32),
        "unknown key id": forged({**ours, "kid": "nobody"}),
        "no key id": forged({"alg": "HS256", "typ": "at+jwt"}),
        "key id of another type": forged({**ours, "kid": 7}),
        "a key in the header": forged(
            {**ours, "kid": "x", "jwk": {"kty": "oct", "k": segment(b"x" * 32)}}, key=b"x" * 32
        ),
        "critical extension": forged({**ours, "crit": ["exp2"], "exp2": 1}),
        "another type": forged({**ours, "typ": "JWT"}),
        "no type": forged({"alg": "HS256", "kid": key_id(KEY)}),
        "no signature": f"{header}.{claims}.",
        "changed signature": f"{header}.{claims}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "changed claims": f"{header}.{segment(good_claims(sub='admin'))}.{signature}",
        "header is a list": forged(["HS256"]),
        "header is deeply nested": f"{segment(b'[' * 2_500)}.{claims}.{signature}",
        "claims are a list": forged(claims=["ann"]),
        "claims are no JSON": forged(claims=b"{"),
        "claims are deeply nested": forged(claims=b"[" * 2_500),
        "another issuer": forged(claims=good_claims(iss="bank")),
        "no issuer": forged(claims=good_claims(iss=None)),
        "another audience": forged(claims=good_claims(aud="bank-api")),
        "no audience": forged(claims=good_claims(aud=None)),
        "no subject": forged(claims=good_claims(sub=None)),
        "empty subject": forged(claims=good_claims(sub="")),
        "subject is a number": forged(claims=good_claims(sub=1)),
        "no expiry": forged(claims=good_claims(exp=None)),
        "expiry is text": forged(claims=good_claims(exp="9999999999")),
        "expiry is endless": forged(claims=good_claims(exp=float("inf"))),
        "issued in the future": forged(claims=good_claims(iat=world.now_us() // 1_000_000 + 60)),
        "not yet": forged(claims=good_claims(nbf=world.now_us() // 1_000_000 + 60)),
        "no id": forged(claims=good_claims(jti=None)),
        "roles are text": forged(claims=good_claims(roles="admin")),
        "roles are numbers": forged(claims=good_claims(roles=[1])),
        "too long": forged(claims=good_claims(more="x" * 5_000)),
        "with a space": good + " ",
        "doubled": f"{good}.{good}",
        "padded": f"{header}.{claims}.{signature}=",
    }


@pytest.mark.parametrize("name", sorted(hostile()))
async def test_a_hostile_token_is_refused(name: str) -> None:
    verifier = tokens()
    text = hostile()[name]
    for _ in range(2):
        with pytest.raises(TokenError) as caught:
            verifier.verify(text)
        assert caught.value.status == 401
        assert len(text) < 10 or text not in str(caught.value)


async def test_the_forger_of_these_tests_makes_a_good_token_when_nothing_is_changed() -> None:
    assert tokens().verify(forged()).principal == Principal("ann", frozenset({"admin"}))


@given(
    text=st.text(max_size=200)
    | st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(lambda p: ".".join(map(segment, p)))
)
async def test_no_text_makes_verifying_fail_otherwise(text: str) -> None:
    with pytest.raises(TokenError):
        tokens().verify(text)


@given(data=st.data())
async def test_no_change_of_one_character_passes(data: st.DataObject) -> None:
    text = tokens().issue(ANN).text
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from("ABCDabcd0123-_.="))
    changed = text[:at] + put + text[at + 1 :]
    if changed == text:
        return
    verifier = tokens()
    try:
        claims = verifier.verify(changed)
    except TokenError:
        return
    # The last character of a segment may hold bits that base64 throws away; then nothing signed has changed.
    assert claims.principal == ANN


async def test_a_token_of_an_older_key_is_good_until_the_key_goes() -> None:
    old = SigningKeys((KEY,))
    issued = Tokens(old, issuer="shop", audience="shop-api").issue(ANN)
    both = old.rotated()
    assert Tokens(both, issuer="shop", audience="shop-api").verify(issued.text).principal == ANN
    gone = both.rotated(keep=1)
    with pytest.raises(TokenError, match="its key is not one of ours"):
        Tokens(gone, issuer="shop", audience="shop-api").verify(issued.text)


async def test_the_cache_is_bounded_and_the_oldest_goes() -> None:
    verifier = tokens(remembered=3)
    texts = [verifier.issue(ANN).text for _ in range(5)]
    for text in texts:
        verifier.verify(text)
    assert [claims.token_id for claims, _ in verifier._seen.values()] == [
        verifier.verify(text).token_id for text in texts[2:]
    ]
    assert not [text for text in texts if text in str(verifier._seen)]  # by their hashes
    none = tokens(remembered=0)
    none.verify(texts[0])
    assert none._seen == {}


async def test_revocation_is_asked_for_a_remembered_token_too() -> None:
    revoked: set[str] = set()

    def is_revoked(claims: Claims) -> bool:
        return claims.token_id in revoked

    verifier = tokens(is_revoked=is_revoked)
    text = verifier.issue(ANN).text
    revoked.add(verifier.verify(text).token_id)
    with pytest.raises(TokenError, match="revoked"):
        verifier.verify(text)


async def test_nobody_gets_no_token() -> None:
    with pytest.raises(ConfigError, match="a token for nobody"):
        tokens().issue(NOBODY)


def test_a_lifetime_must_be_at_least_a_second() -> None:
    assert tokens(lifetime_s=1).lifetime_s == 1
    with pytest.raises(ConfigError, match="lifetime_s=0 must be at least 1"):
        tokens(lifetime_s=0)


def test_errors_pickle() -> None:
    for error in (TokenExpiredError(), TokenError("it has been revoked")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


async def test_an_assertion_carries_a_principal_between_processes() -> None:
    keys = SigningKeys((KEY,))
    here, there = PrincipalAssertions(keys, system="shop"), PrincipalAssertions(keys, system="shop")
    text = here.encode(ANN)
    assert there.decode(text) == ANN
    assert text.isascii()
    assert there.decode(here.encode(NOBODY)) == NOBODY


async def test_an_assertion_says_which_program_acts_for_the_principal() -> None:
    keys = SigningKeys((KEY,))
    here, there = PrincipalAssertions(keys, system="shop"), PrincipalAssertions(keys, system="shop")
    export, app = Program("key:7", per_minute=60), Program("client:blog")
    asked = [ANN, ANN._replace(scopes=frozenset({"orders:read"}), by=export), ANN._replace(by=app)]
    texts = [here.encode(each) for each in asked]
    assert [there.decode(text) for text in texts] == [ANN, ANN._replace(by=Program("key:7")), ANN._replace(by=app)]


async def test_an_assertion_is_written_again_at_half_its_life() -> None:
    codec = PrincipalAssertions(SigningKeys((KEY,)), system="shop", lifetime_s=60)
    first = codec.encode(ANN)
    await asyncio.sleep(29.9)
    assert codec.encode(ANN) == first
    await asyncio.sleep(0.1)
    assert codec.encode(ANN) != first
    await asyncio.sleep(30)
    with pytest.raises(TokenExpiredError):
        codec.decode(first)


async def test_assertions_and_access_tokens_do_not_pass_for_each_other() -> None:
    keys = SigningKeys((KEY,))
    codec = PrincipalAssertions(keys, system="shop")
    with pytest.raises(TokenError):
        codec.decode(tokens().issue(ANN).text)
    with pytest.raises(TokenError):
        tokens().verify(codec.encode(ANN))
    with pytest.raises(TokenError):
        PrincipalAssertions(keys, system="bank").decode(codec.encode(ANN))


async def test_remembered_assertions_are_bounded() -> None:
    codec = PrincipalAssertions(SigningKeys((KEY,)), system="shop", remembered=2)
    for name in ("ann", "bob", "cid", "ann"):
        assert codec.decode(codec.encode(Principal(name))) == Principal(name)
    assert [principal.id for principal in codec._written] == ["cid", "ann"]
