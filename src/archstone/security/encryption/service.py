"""The port to what keeps the root key: a KMS, an HSM, or a file (`RootKeys`).

The root key wraps data keys and never leaves the service, so whoever has the database and its backups has nothing
without asking it. `archstone.security.encryption.testing` holds what every service must do.
"""

from typing import Protocol

__all__ = ["KeyService"]


class KeyService(Protocol):
    """Wraps and unwraps data keys.

    Both raise `KeyServiceError` where the service fails, `KeyServiceBusyError` where it throttles, and
    `KeyServiceDeniedError` where it refuses. Put a policy (time limit, retry, circuit) around a service on a network.
    """

    async def wrap(self, key: bytes, *, context: str) -> bytes:
        """Return `key` encrypted under the newest root key and bound to `context`."""
        ...

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        """Return the key that was wrapped for the same context, under this root key or an older one.

        Raises:
            BrokenSealError: It was changed, or wrapped for another context.
        """
        ...

    def stale(self, wrapped: bytes) -> bool:
        """Return whether it was wrapped under an older root key, so should be wrapped again."""
        ...
