"""How a secret that must be read again is kept: sealed, under a key that is not in the database.

A port: anything with `seal` and `open` fits. `GcmSealer` is the small one, AES-256-GCM under the keys of a key file.
Needs `archstone[security]`.
"""

from typing import Final, Protocol

from archstone import world
from archstone.errors import BackendError
from archstone.security.keys import SigningKeys, key_id

__all__ = ["GcmSealer", "Sealer", "UnsealedError"]

_VERSION: Final = b"\x01"
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12


class UnsealedError(BackendError, code="security.unsealed", status=500):
    """What is stored does not open: it was changed or moved, or its key is gone."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"a sealed value does not open: {self.reason}; restore the key file, or let its owner set it up again"


class Sealer(Protocol):
    """Encrypts small values so that they open in their place only."""

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Return `plaintext` encrypted and bound to `context`: table, column and row, say."""
        ...

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Return what was sealed in this context; an error that is a BackendError if it does not open."""
        ...


class GcmSealer:
    """AES-256-GCM: a byte of version, eight of the key's id, a nonce of twelve by chance, ciphertext, tag.

    The newest key seals, all open. Good for some four thousand million values a key, where a nonce has come twice with
    a chance of one in four thousand million (NIST SP 800-38D, 8.3).
    """

    def __init__(self, keys: SigningKeys) -> None:
        """Take the keys, as `KeyFile.load` gives them: a file of their own, not that of tokens."""
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - only who seals needs it
        except ImportError as error:  # pragma: no cover - the core is installed without it
            message = "archstone.security.GcmSealer needs cryptography: pip install 'archstone[security]'"
            raise ImportError(message, name="cryptography") from error
        self._ciphers = {bytes.fromhex(key_id(key)): AESGCM(key) for key in keys.keys}
        self._newest = next(iter(self._ciphers))

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Return `plaintext` encrypted; see `Sealer.seal`."""
        head, nonce = _VERSION + self._newest, world.secret_bytes(_NONCE_BYTES)
        return head + nonce + self._ciphers[self._newest].encrypt(nonce, plaintext, head + context)

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Return what was sealed; see `Sealer.open`.

        Raises:
            UnsealedError: It does not open.
        """
        head, rest = sealed[: 1 + _ID_BYTES], sealed[1 + _ID_BYTES :]
        cipher = self._ciphers.get(head[1:])
        if head[:1] != _VERSION or cipher is None:
            raise UnsealedError("it was sealed with a key that is not there")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head + context)
        except Exception as error:
            raise UnsealedError("it was changed, or belongs elsewhere") from error
