"""Data at rest: values sealed with AES-256-GCM, keys that rotate, fields, equality search, erasing by key destruction.

    ring = SealRing.generate()
    sealed = ring.seal(b"...", context="customers.phone/42")
    ring.open(sealed, context="customers.phone/42")

`SealRing` seals. `DataKeys` keeps its keys in the database, wrapped by a root key: `RootKeys`, or a KMS behind
`KeyService`. Needs `archstone[security]`. See `docs/security/encryption.md`.
"""

from archstone.security.encryption.blind import BlindIndex, digits, folded
from archstone.security.encryption.column import Encrypted, SealedColumn, place
from archstone.security.encryption.datakeys import DATA_KEYS_SCHEMA, DataKeys, KeyState
from archstone.security.encryption.errors import (
    BrokenSealError,
    KeysDestroyedError,
    KeyServiceBusyError,
    KeyServiceDeniedError,
    KeyServiceError,
    RootKeyError,
    TooLargeToSealError,
    UnknownSealKeyError,
)
from archstone.security.encryption.password import Argon2, DerivationTextError, PasswordKey, Scrypt, parse
from archstone.security.encryption.resealing import Resealed, reseal
from archstone.security.encryption.ring import SealRing, key_of
from archstone.security.encryption.roots import RootKeys
from archstone.security.encryption.service import KeyService

__all__ = [
    "DATA_KEYS_SCHEMA",
    "Argon2",
    "BlindIndex",
    "BrokenSealError",
    "DataKeys",
    "DerivationTextError",
    "Encrypted",
    "KeyService",
    "KeyServiceBusyError",
    "KeyServiceDeniedError",
    "KeyServiceError",
    "KeyState",
    "KeysDestroyedError",
    "PasswordKey",
    "Resealed",
    "RootKeyError",
    "RootKeys",
    "Scrypt",
    "SealRing",
    "SealedColumn",
    "TooLargeToSealError",
    "UnknownSealKeyError",
    "digits",
    "folded",
    "key_of",
    "parse",
    "place",
    "reseal",
]
