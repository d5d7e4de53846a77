"""Seal values with AES-256-GCM under a ring of keys: the newest seals, all of them open.

    ring = SealRing([new_key, old_key])
    sealed = ring.seal(b"...", context="customers.phone/42")
    ring.open(sealed, context="customers.phone/42")

A sealed value is `format 1 | key id 8 | salt 16 | nonce 12 | ciphertext | tag 16` bytes, 53 more than went in. The tag
covers the first three parts and the context, so a value that was changed, cut, moved to another place, or given the
header of another key or format does not open.

No key of the ring encrypts anything itself. Each ring draws a salt, makes a key of its own from both (HKDF), seals at
most 2**20 values under it with random nonces, and then draws another salt. So the bound on messages for one key holds
without processes counting together: two share a key only if they draw the same 128 bits, and a fork or a copied machine
goes on with random nonces.

When not: for passwords (they are hashed, `Passwords`), for what must be searched by parts, for files that do not fit
in memory. A seal hides neither the length of a value nor that it is there, nor when it changes.

Source: NIST SP 800-38D, section 8.3 (2**32 random nonces for a key; we stop at 2**20); RFC 5869 (HKDF). A key derived
from chance in the header is the idea of XAES-256-GCM (C2SP), which derives one for each message.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Self

from archstone import world
from archstone.security.encryption.errors import BrokenSealError, TooLargeToSealError, UnknownSealKeyError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError as error:
    message = "encryption needs cryptography: pip install 'archstone[security]'"
    raise ImportError(message, name="cryptography") from error

__all__ = ["KEY_BYTES", "MESSAGES_OF_A_KEY", "OVERHEAD_BYTES", "PLAINTEXT_BYTES", "SealRing", "key_id", "key_of"]

KEY_BYTES: Final = 32
PLAINTEXT_BYTES: Final = 64 * 2**20
"""Bytes that one seal holds at most, 64 MiB."""
MESSAGES_OF_A_KEY: Final = 2**20
"""Values sealed under one derived key: two of them share a nonce with a chance of 2**-57."""
OVERHEAD_BYTES: Final = 53

_FORMAT: Final = b"\x01"
_ID_BYTES: Final = 8
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_NAMED: Final = len(_FORMAT) + _ID_BYTES
_HEAD: Final = _NAMED + _SALT_BYTES
_BODY: Final = _HEAD + _NONCE_BYTES
_DERIVED_LIMIT: Final = 1_024
"""Derived keys kept in memory for opening, in each ring."""


def key_id(key: bytes) -> bytes:
    """Return the public name of a key, 8 bytes: it follows from the key and does not tell it."""
    return hashlib.sha256(b"archstone seal key" + key).digest()[:_ID_BYTES]


def key_of(sealed: bytes) -> str:
    """Return the name of the key that a value was sealed under: hex, 16 digits. Empty: it is no sealed value."""
    known = len(sealed) >= OVERHEAD_BYTES and sealed[:1] == _FORMAT
    return sealed[1:_NAMED].hex() if known else ""


class SealRing:
    """Keys in memory that seal and open. It is never changed: a rotation makes another ring.

    Threads may share it. Keys stay in memory until the last reference is gone; Python cannot wipe them.
    """

    def __init__(self, keys: Sequence[bytes], *, sealing: int = 0) -> None:
        """Take the keys.

        Args:
            keys: Newest first, at least one, 32 bytes each.
            sealing: Which of them seals, in [0, number of keys): not the newest while others do not know it yet.

        Raises:
            ValueError: A key has another length, or there is none; the text holds no key.
        """
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"key ring: {len(keys)} keys given, at least one and {KEY_BYTES} bytes each are needed")
        if not 0 <= sealing < len(keys):
            raise ValueError(f"key ring: sealing={sealing} must be in [0, {len(keys)})")
        self._keys = {_FORMAT + key_id(key): key for key in keys}
        self._named = _FORMAT + key_id(keys[sealing])
        self._derived: dict[bytes, AESGCM] = {}
        self._left = 0
        # Cipher and header in one value: a thread that renews them leaves no moment with one new and one old.
        self._sealer: tuple[AESGCM, bytes] | None = None

    @classmethod
    def generate(cls) -> Self:
        """Return a ring with one new key, kept nowhere: for tests and for tools."""
        return cls([world.secret_bytes(KEY_BYTES)])

    def __repr__(self) -> str:
        return f"SealRing(sealing={self.sealing}, keys={len(self._keys)})"

    @property
    def sealing(self) -> str:
        """Name of the key that seals, hex."""
        return self._named[1:].hex()

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of all keys, newest first, hex."""
        return tuple(named[1:].hex() for named in self._keys)

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        """Return `plaintext` sealed for one place.

        Args:
            plaintext: At most 64 MiB; may be empty.
            context: Where it will stand, such as `table.column/row`. It is not kept: `open` must be told the same.

        Raises:
            TooLargeToSealError: It is larger.
        """
        if len(plaintext) > PLAINTEXT_BYTES:
            raise TooLargeToSealError(len(plaintext), PLAINTEXT_BYTES)
        sealer = self._sealer
        if sealer is None or self._left <= 0:
            sealer = self._renewed()
        self._left -= 1
        cipher, head = sealer
        nonce = world.secret_bytes(_NONCE_BYTES)
        return head + nonce + cipher.encrypt(nonce, plaintext, head + context.encode())

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Return what was sealed for this place.

        Raises:
            UnknownSealKeyError: Its key is not in this ring.
            BrokenSealError: It was changed, cut, sealed for another place, or is nothing that `seal` has made.
        """
        head = sealed[:_HEAD]
        known = self._derived.get(head)
        cipher = known or self._opener(sealed, context)
        try:
            plaintext = cipher.decrypt(sealed[_HEAD:_BODY], sealed[_BODY:], head + context.encode())
        except (InvalidTag, ValueError) as error:
            raise BrokenSealError(context, "it was changed, or sealed for another place") from error
        if known is None:
            # Only now: headers that somebody makes up, each with a salt of its own, leave nothing behind.
            if len(self._derived) >= _DERIVED_LIMIT:
                self._derived.clear()
            self._derived[head] = cipher
        return plaintext

    def stale(self, sealed: bytes) -> bool:
        """Return whether it was sealed under another key than the one that seals now, so should be sealed again."""
        return sealed[:_NAMED] != self._named

    def derive(self, purpose: str) -> list[bytes]:
        """Return keys for another purpose, such as a `BlindIndex`: one from each key of the ring, 32 bytes.

        That of the key which seals comes first. None tells anything of the keys of the ring, or of another purpose.
        """
        first = self._keys[self._named]
        keys = [first, *(key for key in self._keys.values() if key is not first)]
        return [
            HKDF(SHA256(), KEY_BYTES, salt=None, info=b"archstone purpose " + purpose.encode()).derive(key)
            for key in keys
        ]

    def _opener(self, sealed: bytes, context: str) -> AESGCM:
        if not key_of(sealed):
            raise BrokenSealError(context, f"its {len(sealed)} bytes are none that were sealed in a known format")
        key = self._keys.get(sealed[:_NAMED])
        if key is None:
            raise UnknownSealKeyError(context, key_of(sealed))
        return _derive(key, sealed[:_HEAD])

    def _renewed(self) -> tuple[AESGCM, bytes]:
        head = self._named + world.secret_bytes(_SALT_BYTES)
        sealer = _derive(self._keys[self._named], head), head
        self._sealer, self._left = sealer, MESSAGES_OF_A_KEY
        return sealer


def _derive(key: bytes, head: bytes) -> AESGCM:
    """Return the cipher for a header: it belongs to this key, this format and this salt."""
    info = b"archstone seal " + head[:_NAMED]
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=head[_NAMED:], info=info).derive(key))
