"""What every key service must do, and a stand-in for a KMS with rules and faults of its own.

    class TestMyService(KeyServiceConformance):
        @pytest.fixture
        def service(self) -> KeyService: ...

`StandInKms` keeps root keys that never leave it, knows who asks and what they may, throttles, takes its time, fails
when told, and writes down what it was asked for. It stands for no product: a KMS on a network needs an adapter that
speaks its protocol, which passes the same suite.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import pytest

from archstone import world
from archstone.security.encryption.errors import (
    BrokenSealError,
    KeyServiceBusyError,
    KeyServiceDeniedError,
    KeyServiceError,
)
from archstone.security.encryption.ring import KEY_BYTES, SealRing
from archstone.security.encryption.service import KeyService

__all__ = ["Asked", "KeyServiceConformance", "KmsRules", "StandInKms"]

Verb = Literal["wrap", "unwrap"]
_KEY: Final = bytes(range(KEY_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsRules:
    """How a stand-in behaves."""

    latency_s: float = 0.0
    """Seconds that an answer takes."""
    per_s: float | None = None
    """Requests a second; one more is throttled. None: no limit."""
    largest_bytes: int = 4_096
    """What is wrapped at most; more is refused."""


class Asked(NamedTuple):
    """A request as the service's own log has it."""

    verb: Verb
    context: str
    granted: bool


@dataclass(slots=True)
class StandInKms:
    """A key service in memory. `principal` is who asks."""

    principal: str = "app"
    rules: KmsRules = field(default_factory=KmsRules)
    name: str = "stand-in"
    asked: list[Asked] = field(default_factory=list[Asked])
    fault: str | None = None
    """While set, every request fails with it. None: none does."""
    _versions: list[bytes] = field(default_factory=list[bytes], repr=False)
    _grants: dict[str, frozenset[Verb]] = field(default_factory=dict[str, frozenset[Verb]])
    _disabled: bool = False
    _window_s: float = 0.0
    _in_window: int = 0

    def __post_init__(self) -> None:
        self.rotate()
        self.grant(self.principal, "wrap", "unwrap")

    def rotate(self) -> None:
        """Make a new version of the root key. Older ones unwrap what they have wrapped."""
        self._versions.insert(0, world.secret_bytes(KEY_BYTES))

    def grant(self, principal: str, *verbs: Verb) -> None:
        """Say what somebody may do, in place of what they might until now. None: nothing."""
        self._grants[principal] = frozenset(verbs)

    def disable(self) -> None:
        """Answer nobody until `enable`: the key is kept."""
        self._disabled = True

    def enable(self) -> None:
        """Answer again."""
        self._disabled = False

    def destroy(self) -> None:
        """Destroy every version of the root key, for good: what it has wrapped cannot be unwrapped by anybody."""
        self._versions.clear()

    async def wrap(self, key: bytes, *, context: str) -> bytes:
        """Return `key` wrapped under the newest version."""
        await self._admit("wrap", context)
        if len(key) > self.rules.largest_bytes:
            raise KeyServiceError(self.name, f"{len(key)} bytes to wrap, limit {self.rules.largest_bytes}")
        return self._ring().seal(key, context=context)

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        """Return the key that was wrapped."""
        await self._admit("unwrap", context)
        return self._ring().open(wrapped, context=context)

    def stale(self, wrapped: bytes) -> bool:
        """Return whether an older version has wrapped it: its name is in front, as with the key services of clouds."""
        return self._ring().stale(wrapped)

    def _ring(self) -> SealRing:
        if not self._versions:
            raise KeyServiceError(self.name, "the root key was destroyed")
        return SealRing(self._versions)

    async def _admit(self, verb: Verb, context: str) -> None:
        if self.rules.latency_s:
            await asyncio.sleep(self.rules.latency_s)
        self._throttle()
        if self.fault is not None:
            raise KeyServiceError(self.name, self.fault)
        granted = not self._disabled and verb in self._grants.get(self.principal, frozenset())
        self.asked.append(Asked(verb, context, granted))
        if not granted:
            reason = "the root key is disabled" if self._disabled else f"{self.principal} may not {verb}"
            raise KeyServiceDeniedError(self.name, reason)

    def _throttle(self) -> None:
        if self.rules.per_s is None:
            return
        now_s = world.monotonic()
        if now_s - self._window_s >= 1.0:
            self._window_s, self._in_window = now_s, 0
        if self._in_window >= self.rules.per_s:
            raise KeyServiceBusyError(self.name, 1.0 - (now_s - self._window_s))
        self._in_window += 1


class KeyServiceConformance:
    """What every KeyService must do. Subclass it and give the fixture `service`."""

    async def test_a_wrapped_key_comes_back(self, service: KeyService) -> None:
        """The round trip."""
        wrapped = await service.wrap(_KEY, context="a")
        assert await service.unwrap(wrapped, context="a") == _KEY

    async def test_what_is_wrapped_does_not_hold_the_key(self, service: KeyService) -> None:
        """Not even a part of it."""
        wrapped = await service.wrap(_KEY, context="a")
        assert not any(_KEY[at : at + 8] in wrapped for at in range(KEY_BYTES - 7))

    async def test_wrapping_twice_gives_two_texts(self, service: KeyService) -> None:
        """Nobody can tell that two scopes have one key."""
        assert await service.wrap(_KEY, context="a") != await service.wrap(_KEY, context="a")

    async def test_a_wrapped_key_is_bound_to_its_context(self, service: KeyService) -> None:
        """It cannot be moved to another scope."""
        wrapped = await service.wrap(_KEY, context="a")
        with pytest.raises(BrokenSealError):
            await service.unwrap(wrapped, context="b")

    async def test_a_changed_byte_is_noticed(self, service: KeyService) -> None:
        """Wherever it is."""
        wrapped = await service.wrap(_KEY, context="a")
        for at in range(len(wrapped)):
            changed = wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]
            with pytest.raises(BrokenSealError):
                await service.unwrap(changed, context="a")

    async def test_a_cut_one_is_noticed(self, service: KeyService) -> None:
        """At whatever length."""
        wrapped = await service.wrap(_KEY, context="a")
        for length in range(len(wrapped)):
            with pytest.raises(BrokenSealError):
                await service.unwrap(wrapped[:length], context="a")

    async def test_what_was_just_wrapped_is_not_stale(self, service: KeyService) -> None:
        """`rewrap` comes to an end."""
        assert not service.stale(await service.wrap(_KEY, context="a"))
