"""Rings of keys: what signs when, what is published, how one follows another, and the file."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from archstone import world
from archstone.context import Principal
from archstone.errors import ConfigError
from archstone.security import InsecureKeyFileError, KeyFileError, KeyRing, KeyRingFile, SigningKeys, TokenError, Tokens
from archstone.security.jws import ALGORITHMS, Algorithm

pytestmark = pytest.mark.simulated(limit_s=None)

ANN = Principal("ann", frozenset({"customer"}))


def tokens(ring: KeyRing | SigningKeys, **more: int) -> Tokens:
    return Tokens(ring, issuer="shop", audience="shop-api", **more)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_signs_and_verifies(algorithm: Algorithm) -> None:
    ring = KeyRing.generate(algorithm)
    text = tokens(ring).issue(ANN).text
    assert tokens(ring).verify(text).principal == ANN
    other = KeyRing.generate(algorithm)
    with pytest.raises(TokenError):
        tokens(other).verify(text)


async def test_what_others_see_is_public() -> None:
    for algorithm, private in (("ES256", "d"), ("EdDSA", "d"), ("RS256", "p")):
        entry = KeyRing.generate(algorithm).jwks()["keys"][0]
        assert private not in entry
        assert "d" not in entry
        assert (entry["alg"], entry["use"]) == (algorithm, "sig")
    assert KeyRing.generate("HS256").jwks() == {"keys": []}


async def test_a_new_key_is_published_before_it_signs_and_an_old_one_verifies_after_it_signed() -> None:
    ring = KeyRing.generate("EdDSA")
    old = ring.keys[0]
    signer = tokens(ring, lifetime_s=3_600)
    early = signer.issue(ANN).text
    newer = ring.rotated(announce_s=600, keep_s=3_600)
    new = newer.keys[0]
    assert [each["kid"] for each in newer.jwks()["keys"]] == [new.id, old.id]
    signer.use(newer)
    assert newer.signer().id == old.id
    await asyncio.sleep(599.9)
    assert newer.signer().id == old.id
    await asyncio.sleep(0.1)
    assert newer.signer().id == new.id
    late = signer.issue(ANN).text
    assert signer.verify(early).principal == signer.verify(late).principal == ANN
    await asyncio.sleep(3_599)
    assert len(newer.jwks()["keys"]) == 2
    await asyncio.sleep(1)
    assert [each["kid"] for each in newer.jwks()["keys"]] == [new.id]
    with pytest.raises(TokenError):
        signer.verify(early)


async def test_a_ring_is_rotated_again_and_again_and_stays_small() -> None:
    ring = KeyRing.generate("EdDSA")
    for _ in range(40):
        ring = ring.rotated(announce_s=0, keep_s=86_400)
    assert len(ring.keys) == 16
    await asyncio.sleep(86_401)
    assert len(ring.rotated(announce_s=0).keys) == 2


async def test_the_file_is_made_once_private_and_read_again(tmp_path: Path) -> None:
    file = KeyRingFile(tmp_path / "ring.json")
    ring = file.load()
    assert file.load() == ring
    assert ring.keys[0].algorithm == "ES256"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert ring.keys[0].signs_from_us == world.now_us()
    text = tokens(ring).issue(ANN).text
    assert tokens(KeyRingFile(tmp_path / "ring.json").load()).verify(text).principal == ANN


async def test_the_file_renews_itself_when_its_newest_key_is_old(tmp_path: Path) -> None:
    file = KeyRingFile(tmp_path / "ring.json", algorithm="EdDSA")
    first = file.load()
    await asyncio.sleep(89 * 86_400)
    assert file.renewed() == first
    await asyncio.sleep(86_400)
    second = file.renewed()
    assert len(second.keys) == 2
    assert file.renewed() == second


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"ring": []}', '{"ring": [{}]}',
     '{"ring": [{"alg": "none", "key": "", "from": 0, "until": null}]}',
     '{"ring": [{"alg": "HS256", "key": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "from": 0, "until": null}]}',
     '{"ring": [{"alg": "ES256", "key": "nonsense", "from": 0, "until": null}]}'],
)  # fmt: skip
def test_a_broken_file_is_an_error_and_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ring.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="no ring of keys"):
        KeyRingFile(path).load()
    assert path.read_text() == text
    path.chmod(0o644)
    with pytest.raises(InsecureKeyFileError):
        KeyRingFile(path).load()


def test_a_key_of_another_kind_in_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    ring = KeyRing.generate("EdDSA")
    entry = {"alg": "ES256", "key": ring.keys[0].secret.decode(), "from": 0, "until": None}
    path.write_text(json.dumps({"ring": [entry]}))
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        KeyRingFile(path).load()


def test_keys_do_not_show() -> None:
    for algorithm in ALGORITHMS:
        ring = KeyRing.generate(algorithm)
        assert "PRIVATE" not in repr(ring)
        assert repr(ring.keys[0].secret) not in repr(ring)


def test_limits_of_a_ring() -> None:
    with pytest.raises(ConfigError, match="0 keys"):
        KeyRing(())
    with pytest.raises(ConfigError, match="announce_s=-1"):
        KeyRing.generate().rotated(announce_s=-1)
    with pytest.raises(ConfigError, match="has 5 bytes: at least 32"):
        tokens(SigningKeys((b"short",)))
