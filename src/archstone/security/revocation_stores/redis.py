"""Revocations in a Redis or Valkey server: as durable as the server is set up to be.

One sorted set, by when an entry was added; what has expired is taken out with each addition, and the whole set a while
after the last one. Needs `archstone[redis]`.
"""

from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any, Final, Protocol, cast

from archstone import world
from archstone.errors import BackendError, ConfigError
from archstone.security.revocations import LEAST_OVERLAP_S, RevocationTransaction, Revoked

__all__ = ["RedisRevocations"]

_MICROS: Final = 1_000_000


class Client(Protocol):
    """What is used of redis-py's client."""

    def zadd(self, name: str, mapping: dict[str, int]) -> Awaitable[Any]:
        """Add members with their scores."""
        ...

    def zrangebyscore(self, name: str, min: int, max: str) -> Awaitable[list[bytes]]:
        """Return members between two scores."""
        ...

    def zremrangebyscore(self, name: str, min: str, max: int) -> Awaitable[Any]:
        """Remove members between two scores."""
        ...

    def expire(self, name: str, time: int) -> Awaitable[Any]:
        """Let a key end after some seconds."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class RedisRevocations:
    """A `RevocationStore` on a server."""

    def __init__(self, url: str, *, name: str = "tokens", lifetime_s: float = 900.0, timeout_s: float = 1.0) -> None:
        """Connect to nothing yet.

        Args:
            url: `redis://host:port/database`, `rediss://` for TLS. Its password is in no error and no repr.
            name: Of the list: systems that share a server have one each.
            lifetime_s: Longest life of a token; entries are kept a little longer. Above 0.
            timeout_s: Longest that one question may take. Above 0.
        """
        try:
            redis = import_module("redis.asyncio")
        except ImportError as error:
            message = "revocations on redis:// need redis-py: pip install 'archstone[redis]'"
            raise ConfigError(message) from error
        self._client = cast("Client", redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s))
        self._set = f"archstone:revoked:{name}"
        self._keep_s = lifetime_s + 2 * LEAST_OVERLAP_S
        self._place = url.rpartition("@")[2].removeprefix("redis://").removeprefix("rediss://")

    @property
    def shared(self) -> bool:
        """Always: a server is for many."""
        return True

    def __repr__(self) -> str:
        return f"RedisRevocations({self._place!r})"

    async def add(self, entries: Sequence[Revoked], *, tx: RevocationTransaction | None = None) -> None:
        """Keep entries; when this returns the server has them, also where `tx` is rolled back later."""
        now_us = world.now_us()
        members = {f"{each.before_us} {each.expires_us} {each.key}": now_us for each in entries}
        await self._asked(self._client.zadd(self._set, members))
        await self._asked(self._client.zremrangebyscore(self._set, "-inf", now_us - round(self._keep_s * _MICROS)))
        await self._asked(self._client.expire(self._set, round(self._keep_s)))

    async def since(self, at_us: int) -> Sequence[Revoked]:
        """Return what was added at `at_us` or later, and has not expired."""
        now_us = world.now_us()
        found = [_parsed(each) for each in await self._asked(self._client.zrangebyscore(self._set, at_us, "+inf"))]
        return [each for each in found if each.expires_us > now_us]

    def listen(self, news: Callable[[], None]) -> Callable[[], None]:
        """Promise nothing: whoever asks again each second hears it in time."""
        return lambda: None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _asked(self, question: Awaitable[Any]) -> Any:
        try:
            return await question
        except Exception as error:
            raise BackendError(f"{self!r}: {type(error).__name__}: look whether the server answers") from error


def _parsed(member: bytes) -> Revoked:
    before, expires, key = member.decode().split(" ", 2)
    return Revoked(key, int(before), int(expires))
