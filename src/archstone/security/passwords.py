"""Passwords: argon2id off the event loop, a few at once, a bounded number waiting.

A hash takes some 20 ms and 19 MiB by intention. So it runs in threads (argon2 lets go of the interpreter), at most
two at once, and who comes when the waiting line is full is turned away at once instead of sinking everybody.

Promises: an unknown user costs the same time as a wrong password; a right password whose hash was made with other
parameters comes with a new hash to store; nothing here is ever logged or shown.
"""

import asyncio
import base64
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple, Self, TypeVar

from archstone import world
from archstone.security.breached import BreachedPasswords
from archstone.security.errors import PasswordsBusyError, PasswordTooLongError, StoredHashError
from archstone.security.policy import Flaw, PasswordPolicy

try:
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
except ImportError as error:  # pragma: no cover - the core is installed without it
    message = "archstone.security needs argon2-cffi: pip install 'archstone[security]'"
    raise ImportError(message, name="argon2") from error

__all__ = ["Cost", "Passwords", "Verdict", "hasher"]

T = TypeVar("T")

_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_EXPECTED_S: Final = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one hash costs. The default is OWASP's for argon2id (Password Storage Cheat Sheet)."""

    memory_kib: int = 19 * 1024
    """Memory per hash, in KiB."""
    passes: int = 2
    """Passes over that memory."""
    lanes: int = 1
    """Lanes computed side by side."""


def hasher(cost: Cost) -> PasswordHasher:
    """Return argon2id with this cost."""
    return PasswordHasher(
        time_cost=cost.passes,
        memory_cost=cost.memory_kib,
        parallelism=cost.lanes,
        hash_len=_HASH_BYTES,
        salt_len=_SALT_BYTES,
    )


class Verdict(NamedTuple):
    """What became of a password that was offered."""

    right: bool
    """Whether it is the user's password."""
    new_hash: str | None = None
    """Store this in place of the old hash. None: the old one is as it should be."""


class Passwords:
    """Hashes and verifies passwords.

    Cancelling a caller gives its place in the line away; a hash that has begun runs to its end in its thread.
    """

    LIMIT_BYTES: Final = 1_024
    """Bytes of a password, in UTF-8, at most."""

    def __init__(
        self,
        *,
        cost: Cost = Cost(),
        at_once: int = 2,
        waiting: int = 64,
        policy: PasswordPolicy | None = None,
        breached: BreachedPasswords | None = None,
    ) -> None:
        """Make it ready; threads start with the first password.

        Args:
            cost: Parameters of new hashes. A hash with other ones is renewed at its next verification.
            at_once: Hashes computed at the same time, at least 1.
            waiting: Callers that may wait for their turn, at least 0; one more gets `PasswordsBusyError`.
            policy: What new passwords must be. None: `PasswordPolicy()`.
            breached: Who knows passwords from breaches. None: nobody is asked.
        """
        self._hasher = hasher(cost)
        self._policy = policy or PasswordPolicy()
        self._breached = breached
        self._cost = cost
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="archstone-passwords")
        self._slots = asyncio.Semaphore(at_once)
        self._at_once = at_once
        self._waiting = 0
        self._waiting_limit = waiting

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the threads end. What waits for a thread is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def flaw(self, password: str, *, about: Sequence[str] = ()) -> Flaw | None:
        """Return why a new password is refused. None: it is good. See `PasswordPolicy.flaw`.

        Args:
            password: The new password.
            about: What is known of its owner: e-mail address, names.

        Raises:
            PasswordsBusyError: The line is full.
        """
        known = tuple(about)
        found = await self._off_loop(lambda: self._policy.flaw(password, about=known))
        if found is None and self._breached is not None and await self._breached.times_seen(password):
            return Flaw("breached", "is known from a breach of another site")
        return found

    async def hash(self, password: str) -> str:
        """Return the hash to store, in the usual `$argon2id$...` form with its own salt.

        Raises:
            PasswordTooLongError: More than `LIMIT_BYTES`.
            PasswordsBusyError: The line is full.
        """
        secret = _normal(password)
        if len(secret) > self.LIMIT_BYTES:
            raise PasswordTooLongError(len(secret), self.LIMIT_BYTES)
        salt = world.secret_bytes(_SALT_BYTES)
        return await self._off_loop(lambda: self._hasher.hash(secret, salt=salt))

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Tell whether `password` is the one that was hashed as `stored`.

        Args:
            stored: The stored hash, or None for a user who does not exist: then the same work is done in vain, so
                that the time tells nothing.
            password: What was offered. One over `LIMIT_BYTES` is wrong.

        Raises:
            StoredHashError: `stored` is no argon2 hash.
            PasswordsBusyError: The line is full.
        """
        secret = _normal(password)
        against = self._dummy() if stored is None else stored
        if len(secret) > self.LIMIT_BYTES:
            secret, against = b"", self._dummy()
        salt = world.secret_bytes(_SALT_BYTES)
        return await self._off_loop(lambda: self._judge(against, secret, salt))

    def _judge(self, stored: str, secret: bytes, salt: bytes) -> Verdict:
        try:
            self._hasher.verify(stored, secret)
        except VerifyMismatchError:
            return Verdict(right=False)
        except (InvalidHashError, VerificationError, UnicodeEncodeError) as error:
            raise StoredHashError from error
        if not self._hasher.check_needs_rehash(stored):
            return Verdict(right=True)
        return Verdict(right=True, new_hash=self._hasher.hash(secret, salt=salt))

    def _dummy(self) -> str:
        """Return a hash with our parameters that no password has: it costs nothing to make."""
        cost = self._cost
        salt, tag = (_base64(world.secret_bytes(size)) for size in (_SALT_BYTES, _HASH_BYTES))
        return f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.lanes}${salt}${tag}"

    async def _off_loop(self, work: Callable[[], T]) -> T:
        if self._slots.locked() and self._waiting >= self._waiting_limit:
            retry_after_s = max(0.1, self._waiting * _EXPECTED_S / self._at_once)
            raise PasswordsBusyError(self._waiting, self._waiting_limit, retry_after_s)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            done = asyncio.get_running_loop().run_in_executor(self._pool, work)
        except BaseException:
            self._slots.release()
            raise
        # The slot is free when the thread is, not when the caller is gone: two cancelled callers must not let
        # four threads' worth of memory run. Hence the shield, and the release in the callback.
        done.add_done_callback(lambda _done: self._slots.release())
        return await asyncio.shield(done)


def _normal(password: str) -> bytes:
    """Return the bytes to hash: one accent typed in two ways is one password (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii").rstrip("=")
