"""Keys to sign with, each with its time: a new one is published before it signs, an old one verifies until it is gone.

    file = KeyRingFile(data / "ring.json", algorithm="ES256")
    ring = file.load()                      # made at the first start
    ring.jwks()                             # what others verify with
    file.renewed(every_s=90 * 86_400)       # a new key when the last one is old

When a ring is rotated the new key stands in the JWKS at once and signs `announce_s` later: whoever keeps the JWKS for
that long never meets a key that it does not know. The old ones verify for `keep_s` after that, which is longer than
anything that they have signed is good for. All of it follows from instants in the file, so processes need not agree.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self, cast

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey

from archstone import world
from archstone.errors import ConfigError
from archstone.security.errors import KeyFileError
from archstone.security.jws import ALGORITHMS, Algorithm, Key, VerifyingKey
from archstone.security.keys import KEY_BYTES, SigningKeys, key_id
from archstone.security.private_files import read_private, write_private

__all__ = ["KeyRing", "KeyRingFile", "RingKey"]

_MICROS: Final = 1_000_000
_RSA_BITS: Final = 2_048
_MOST: Final = 16
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True)
class RingKey:
    """One key, private, and its time."""

    algorithm: Algorithm
    secret: bytes = field(repr=False)
    """32 bytes or more for HS256, PKCS#8 as PEM for the others."""
    signs_from_us: int = 0
    """Microseconds since the epoch from which it signs, if no newer one does."""
    until_us: int | None = None
    """The first microsecond at which it verifies no more. None: it has no successor yet."""

    def __post_init__(self) -> None:
        if self.algorithm == "HS256" and len(self.secret) < KEY_BYTES:
            raise ConfigError(f"a shared key has {len(self.secret)} bytes: at least {KEY_BYTES} are needed")

    @classmethod
    def generate(cls, algorithm: Algorithm, *, signs_from_us: int) -> Self:
        """Return a new key. All but RSA take their chance from `world`."""
        return cls(algorithm, _generated(algorithm), signs_from_us)

    @cached_property
    def key(self) -> Key:
        """The key as joserfc has it."""
        kinds: Mapping[str, type[Key]] = {"HS256": OctKey, "RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}
        return kinds[self.algorithm].import_key(self.secret)

    @cached_property
    def id(self) -> str:
        """Its public name: the thumbprint of the public key (RFC 7638), for HS256 a hash under a name of its own."""
        return key_id(self.secret) if self.algorithm == "HS256" else self.key.thumbprint()

    @cached_property
    def verifying(self) -> VerifyingKey:
        """Its public half, to verify with: a private key would make that anew at each token."""
        key = self.key
        if self.algorithm != "HS256":
            key = JWKRegistry.import_key(key.as_dict(private=False))
        return VerifyingKey(self.id, self.algorithm, key, self.until_us)

    @property
    def public(self) -> dict[str, Any]:
        """The JSON Web Key that others may know."""
        return {**self.key.as_dict(private=False), "kid": self.id, "alg": self.algorithm, "use": "sig"}


@dataclass(frozen=True)
class KeyRing:
    """The keys of one issuer."""

    keys: tuple[RingKey, ...]
    """Newest first, at least one, at most 16."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= _MOST:
            raise ConfigError(f"KeyRing: {len(self.keys)} keys: there must be 1 to {_MOST}")

    @classmethod
    def generate(cls, algorithm: Algorithm = "EdDSA") -> Self:
        """Return a ring with one new key, kept nowhere: for tests and for tools."""
        return cls((RingKey.generate(algorithm, signs_from_us=0),))

    @classmethod
    def of(cls, keys: SigningKeys) -> Self:
        """Return a ring of keys that one system shares: the first signs."""
        return cls(tuple(RingKey("HS256", key) for key in keys.keys))

    def signer(self) -> RingKey:
        """Return the key that signs now: the newest whose time has come, or the oldest if none's has."""
        now_us = world.now_us()
        ready = [key for key in self.keys if key.signs_from_us <= now_us]
        return max(ready, key=lambda key: key.signs_from_us) if ready else self.keys[-1]

    def by_id(self) -> dict[str, VerifyingKey]:
        """Return the keys to verify with, by their ids."""
        return {key.id: key.verifying for key in self.keys}

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the public keys that verify now or will sign soon (RFC 7517). Shared secrets are not among them."""
        now_us = world.now_us()
        shown = [key for key in self.keys if key.algorithm != "HS256" and not _over(key, now_us)]
        return {"keys": [key.public for key in shown]}

    def rotated(
        self, algorithm: Algorithm | None = None, *, announce_s: float = 3_600.0, keep_s: float = 86_400.0
    ) -> Self:
        """Return the ring with a new key in front.

        Args:
            algorithm: Of the new key. None: as the newest so far.
            announce_s: Seconds from now at which it begins to sign: as long as others keep the JWKS. At least 0.
            keep_s: Seconds after that for which the others verify: at least as long as a token lives.
        """
        if not (announce_s >= 0 and keep_s >= 0):
            raise ConfigError(f"KeyRing.rotated: announce_s={announce_s} and keep_s={keep_s} must be at least 0")
        now_us = world.now_us()
        begins_us = now_us + round(announce_s * _MICROS)
        ends_us = begins_us + round(keep_s * _MICROS)
        new = RingKey.generate(algorithm or self.keys[0].algorithm, signs_from_us=begins_us)
        old = tuple(replace(key, until_us=key.until_us or ends_us) for key in self.keys if not _over(key, now_us))
        return type(self)((new, *old[: _MOST - 1]))


class KeyRingFile:
    """A ring in a file with mode 0600, made at the first start."""

    def __init__(self, path: Path, *, algorithm: Algorithm = "ES256") -> None:
        self.path = path
        self.algorithm: Algorithm = algorithm

    def load(self) -> KeyRing:
        """Return the ring; make the file, durably, if there is none. Processes that start together agree.

        Raises:
            InsecureKeyFileError: The mode of the file lets others in.
            KeyFileError: It cannot be read, or what it holds is no ring.
        """
        found = read_private(self.path)
        if found is None:
            made = KeyRing((RingKey.generate(self.algorithm, signs_from_us=world.now_us()),))
            write_private(self.path, _written(made), replace=False)
            found = read_private(self.path)
        if found is None:
            raise KeyFileError(str(self.path), "it vanished while being made")
        return _parsed(found, str(self.path))

    def rotate(self, *, announce_s: float = 3_600.0, keep_s: float = 86_400.0) -> KeyRing:
        """Put a new key in front, durably; see `KeyRing.rotated`. One process at a time: the last one's ring stays."""
        ring = self.load().rotated(self.algorithm, announce_s=announce_s, keep_s=keep_s)
        write_private(self.path, _written(ring))
        return ring

    def renewed(self, *, every_s: float = 90 * 86_400.0) -> KeyRing:
        """Return the ring, rotated first if its newest key is older than `every_s` seconds. Ask now and then."""
        ring = self.load()
        if world.now_us() - ring.keys[0].signs_from_us < every_s * _MICROS:
            return ring
        return self.rotate()


def _over(key: RingKey, now_us: int) -> bool:
    return key.until_us is not None and key.until_us <= now_us


def _generated(algorithm: Algorithm) -> bytes:
    if algorithm == "HS256":
        return world.secret_bytes(KEY_BYTES)
    made: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    if algorithm == "ES256":
        # FIPS 186-5, A.2.1: 128 bits more than the order has, so that the remainder is even.
        number = int.from_bytes(world.secret_bytes(48), "big") % (_P256_ORDER - 1) + 1
        made = ec.derive_private_key(number, ec.SECP256R1())
    elif algorithm == "EdDSA":
        made = ed25519.Ed25519PrivateKey.from_private_bytes(world.secret_bytes(32))
    else:
        made = rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _written(ring: KeyRing) -> bytes:
    entries = [
        {"alg": key.algorithm, "key": key.secret.decode("ascii"), "from": key.signs_from_us, "until": key.until_us}
        for key in ring.keys
    ]
    return json.dumps({"ring": entries}).encode()


def _parsed(text: bytes, path: str) -> KeyRing:
    try:
        entries = cast("list[dict[str, Any]]", json.loads(text)["ring"])
        keys = tuple(_entry(entry) for entry in entries)
        ring = KeyRing(keys)
        ring.by_id()
    except Exception as error:
        raise KeyFileError(path, "what it holds is no ring of keys") from error
    return ring


def _entry(entry: dict[str, Any]) -> RingKey:
    algorithm, until = entry["alg"], entry["until"]
    if algorithm not in ALGORITHMS or algorithm == "HS256":
        raise ValueError(algorithm)
    return RingKey(
        algorithm, str(entry["key"]).encode("ascii"), int(entry["from"]), None if until is None else int(until)
    )
