"""Compact JSON Web Signatures, as far as tokens need them: one signature, four algorithms, nothing optional.

A key belongs to one algorithm. What the header of a token says only chooses among our keys by `kid`, and must then name
that key's algorithm: so neither `none` nor a public key used as an HMAC secret passes. Headers that bring a key or say
where to fetch one (`jwk`, `jku`, `x5c`, `x5u`), or that change the meaning of the rest (`crit`, `b64`, `zip`), are
refused. joserfc and cryptography compute; a header that was accepted is remembered, since all tokens of a key share it.

Source: RFC 7515, RFC 7518, RFC 8725 (best practice), sections 3.1 to 3.5.
"""

from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, cast, get_args

import orjson

from archstone.errors import ConfigError
from archstone.security.errors import TokenError

try:
    from joserfc import jws
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
except ImportError as error:  # pragma: no cover - the core is installed without it
    message = "archstone.security needs joserfc: pip install 'archstone[security]'"
    raise ImportError(message, name="joserfc") from error

__all__ = [
    "ALGORITHMS",
    "LONGEST",
    "Algorithm",
    "Header",
    "Key",
    "Opener",
    "VerifyingKey",
    "packed",
    "sign",
    "unpacked",
]

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)

Key = OctKey | RSAKey | ECKey | OKPKey

LONGEST: Final = 4_096
"""Characters of a token."""
_LEAST_RSA_BITS: Final = 2_048
_MOST_RSA_BITS: Final = 8_192
"""Verifying takes the longer the more there are: a key of others must not cost seconds."""
_REFUSED: Final = frozenset({"jwk", "jku", "x5c", "x5u", "crit", "b64", "zip", "enc"})
_HEADERS_REMEMBERED: Final = 64
_ALPHABET: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
"""From base64url to base64; what base64url has not becomes what base64 has not."""
_KINDS: Final[dict[Algorithm, type[Key]]] = {"HS256": OctKey, "RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}
_CURVES: Final[dict[str, str]] = {"ES256": "P-256", "EdDSA": "Ed25519"}


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key, the one algorithm that it is for, and until when."""

    id: str
    algorithm: Algorithm
    key: Key = field(repr=False)
    until_us: int | None = None
    """The first microsecond since the epoch at which it verifies no more. None: no end is set."""

    def __post_init__(self) -> None:
        if fault := key_fault(self.algorithm, self.key):
            raise ConfigError(f"key {self.id!r}: {fault}")

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether the signature is this key's under this message."""
        return jws.JWSRegistry.algorithms[self.algorithm].verify(message, signature, self.key)


def key_fault(algorithm: str, key: Key) -> str:
    """Return why a key cannot be of an algorithm; empty: it can."""
    if algorithm not in ALGORITHMS:
        return f"algorithm {algorithm!r} is none of {', '.join(ALGORITHMS)}"
    if not isinstance(key, _KINDS[algorithm]):
        return f"a {key.key_type} key is not for {algorithm}"
    curve = getattr(key, "curve_name", None)
    if curve != _CURVES.get(algorithm):
        return f"curve {curve} is not for {algorithm}"
    if isinstance(key, RSAKey) and not _LEAST_RSA_BITS <= key.raw_value.key_size <= _MOST_RSA_BITS:
        return f"{key.raw_value.key_size} bits, must be {_LEAST_RSA_BITS} to {_MOST_RSA_BITS}"
    return ""


class Header(NamedTuple):
    """What counts of the header of a token."""

    key: VerifyingKey
    kind: str
    """The `typ`, in lower case and without `application/`; empty if there is none."""


class Opener:
    """Opens tokens that one of its keys has signed."""

    def __init__(self, keys: dict[str, VerifyingKey]) -> None:
        self._keys = keys
        self._headers: dict[bytes, Header] = {}

    def open(self, token: bytes) -> tuple[Header, dict[str, Any]]:
        """Return header and claims of a token whose signature holds. What the claims say is not looked at.

        Raises:
            TokenError: It is malformed, its key is not one of ours, its algorithm is not the key's, or it was changed.
        """
        signed, dot, signature = token.rpartition(b".")
        first, _, body = signed.partition(b".")
        if not dot or not body or b"." in body:
            raise TokenError("it does not have three parts")
        header = self._headers.get(first) or self._header(first)
        try:
            proof = unpacked(signature)
        except ValueError:
            raise TokenError("it is malformed") from None
        if not header.key.verifies(signed, proof):
            raise TokenError("it does not hold (bad signature)")
        return header, _object(body, "claims")

    def _header(self, segment: bytes) -> Header:
        said = _object(segment, "header")
        if found := sorted(_REFUSED & said.keys()):
            raise TokenError(f"its header has {found[0]!r}, which is not accepted")
        key_id, algorithm, kind = said.get("kid"), said.get("alg"), said.get("typ", "")
        key = self._keys.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise TokenError("its key is not one of ours")
        if algorithm != key.algorithm:
            raise TokenError("its algorithm is not that of its key")
        if not isinstance(kind, str):
            raise TokenError("its type is no text")
        header = Header(key, kind.lower().removeprefix("application/"))
        if len(self._headers) >= _HEADERS_REMEMBERED:
            self._headers.clear()
        self._headers[segment] = header
        return header


def unverified_key_id(token: str) -> str | None:
    """Return the `kid` that a token claims, to choose whom to ask about it. It proves nothing. None: none is there."""
    try:
        said = _object(token[:LONGEST].partition(".")[0].encode("ascii"), "header")
    except (UnicodeEncodeError, TokenError):
        return None
    key_id = said.get("kid")
    return key_id if isinstance(key_id, str) else None


def sign(header: dict[str, str], claims: dict[str, Any], key: Key) -> str:
    """Return claims as a signed token; `header["alg"]` says how."""
    message = packed(orjson.dumps(header)) + b"." + packed(orjson.dumps(claims))
    signature = jws.JWSRegistry.algorithms[header["alg"]].sign(message, key)
    return (message + b"." + packed(signature)).decode("ascii")


def packed(raw: bytes) -> bytes:
    """Return bytes as base64url without padding."""
    return b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


_TO_URL: Final = bytes.maketrans(b"+/", b"-_")


def unpacked(segment: bytes) -> bytes:
    """Return the bytes of base64url without padding.

    Raises:
        ValueError: It is none.
    """
    return a2b_base64(segment.translate(_ALPHABET) + b"==="[: -len(segment) % 4], strict_mode=True)


_loads: Final = cast("Callable[[bytes], object]", orjson.loads)


def _object(segment: bytes, what: str) -> dict[str, Any]:
    try:
        said = _loads(unpacked(segment))
    except (ValueError, RecursionError):
        raise TokenError(f"its {what} cannot be read") from None
    if not isinstance(said, dict):
        raise TokenError(f"its {what} are no object")
    return cast("dict[str, Any]", said)
