"""What access tokens are taken back before their time, known to every process.

    async with Revocations(DatabaseRevocations(db)) as revocations:
        tokens = Tokens(keys, issuer="shop", audience="shop-api", is_revoked=revocations.is_revoked)
        await revocations.revoke_subject(user_id)            # signed out everywhere
        await revocations.revoke_grants([sign_in], tx=tx)    # if and only if tx commits

Each process keeps the list in memory, so that asking costs a few look-ups, and looks for news every `refresh_s`; a
database also tells of them at once. The promise: revoked here it is refused from the next check on; in other processes
after `refresh_s` and the time of one question at most; a process that has had no news for `stale_s` refuses every
token, since it cannot know (503, not 401: the token may be good). Where one process alone has the store, as with a
SQLite file, there is nothing to look for. An entry is forgotten when the tokens that it is
about have expired.

Do not use it to end sessions of many hours: it is as large as the number of entries per life of a token.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from archstone import world
from archstone.errors import ConfigError, RejectedError
from archstone.observability import get_logger
from archstone.security.claims import Claims

__all__ = [
    "LEAST_OVERLAP_S",
    "RevocationStore",
    "RevocationTransaction",
    "Revocations",
    "RevocationsStaleError",
    "Revoked",
]

LEAST_OVERLAP_S: Final = 60.0
"""Seconds that a question for news goes back: as far as clocks may differ, and transactions take to commit."""
_MICROS: Final = 1_000_000
_log = get_logger(__name__)


class Revoked(NamedTuple):
    """All tokens of one thing that were issued up to some instant."""

    key: str
    """`token:<jti>`, `grant:<id>` or `subject:<id>`."""
    before_us: int
    """Tokens issued at this microsecond or before are refused."""
    expires_us: int
    """When the last of them has expired."""


class RevocationTransaction(Protocol):
    """An open transaction, as far as it is needed here: `Transaction` of data, or a service's `self.tx`."""

    def execute(self, sql: str, /, **params: object) -> Awaitable[int]:
        """Run a statement and return how many rows it changed."""
        ...

    def many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> Awaitable[int]:
        """Run a statement once per mapping of parameters."""
        ...

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once this is durable; never if it is rolled back."""
        ...


class RevocationStore(Protocol):
    """What all processes share."""

    @property
    def shared(self) -> bool:
        """Whether others may add to it. If not, nobody has news to look for."""
        ...

    async def add(self, entries: Sequence[Revoked], *, tx: RevocationTransaction | None = None) -> None:
        """Keep entries, durably where the store is durable; of one key the later `before_us` stays.

        Args:
            entries: What is taken back.
            tx: A transaction of the store's own database, with which they are kept or not. A store that is elsewhere
                keeps them at once, whatever becomes of it: that errs on the safe side. None: they are kept at once.
        """
        ...

    async def since(self, at_us: int) -> Sequence[Revoked]:
        """Return what was added at `at_us` or later by the store's account, and has not expired."""
        ...

    def listen(self, news: Callable[[], None]) -> Callable[[], None]:
        """Call `news` when something may have been added; return what ends that. A store that cannot tell does not."""
        ...


class RevocationsStaleError(RejectedError, code="security.revocations-stale", status=503):
    """Nobody could say for a while which tokens are revoked; so none is accepted."""

    def __init__(self, age_s: float, limit_s: float, retry_after_s: float) -> None:
        super().__init__(age_s, limit_s, retry_after_s)
        self.age_s = age_s
        self.limit_s = limit_s
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"revocations: no news for {self.age_s:.0f} s, limit {self.limit_s:.0f} s: no token is accepted; "
            f"look whether their store answers, then try again in {self.retry_after_s:.0f} s"
        )


class Revocations:
    """The list as one process knows it. Open it by `async with`; it looks for news until it is closed."""

    def __init__(
        self,
        store: RevocationStore,
        *,
        lifetime_s: float = 900.0,
        refresh_s: float = 1.0,
        stale_s: float = 30.0,
        limit: int = 100_000,
    ) -> None:
        """Take the store; nothing is asked yet.

        Args:
            store: What all processes share.
            lifetime_s: Longest life of a token that is ever asked about. Above 0.
            refresh_s: Seconds between two questions for news. Above 0.
            stale_s: Seconds without news after which every token is refused. Above `refresh_s`.
            limit: Entries in memory at most, at least 1. Beyond it all tokens issued so far are refused: their bearers
                get new ones with their refresh tokens.
        """
        if not (lifetime_s > 0 and 0 < refresh_s < stale_s and limit >= 1):
            raise ConfigError(
                f"Revocations: lifetime_s={lifetime_s} must be above 0, refresh_s={refresh_s} above 0 and below "
                f"stale_s={stale_s}, limit={limit} at least 1"
            )
        self._store = store
        self._lifetime_us = round(lifetime_s * _MICROS)
        self._refresh_s = refresh_s
        self._stale_s = stale_s
        self._limit = limit
        self._entries: dict[str, Revoked] = {}
        self._all_before_us = -1
        self._forget_at_us = 0
        self._news_at_s = -float("inf")
        self._asked_us = 0
        self._alone = False
        """Whether this process knows all that there is: the store is its own, and was read."""
        self._wake = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._unlisten: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        """Learn what is revoked, and look for news from now on."""
        await self.refresh()
        self._alone = not self._store.shared
        if self._alone:
            return self
        self._unlisten = self._store.listen(self._wake.set)
        self._looking = asyncio.create_task(self._look(), name="revocations")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._unlisten is not None:
            self._unlisten()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def is_revoked(self, claims: Claims) -> bool:
        """Return whether a token has been taken back: what `Tokens` asks.

        Raises:
            RevocationsStaleError: There has been no news for too long.
        """
        age_s = world.monotonic() - self._news_at_s
        if age_s > self._stale_s and not self._alone:
            raise RevocationsStaleError(age_s, self._stale_s, self._refresh_s)
        if claims.issued_us <= self._all_before_us:
            return True
        entries = self._entries
        if not entries:
            return False
        found = entries.get(f"token:{claims.token_id}")
        if found is not None:
            return True
        for key in (f"subject:{claims.principal.id}", f"grant:{claims.grant}"):
            found = entries.get(key)
            if found is not None and claims.issued_us <= found.before_us:
                return True
        return False

    async def revoke(self, claims: Claims) -> None:
        """Take one token back. When this returns it is refused here, and is in the store."""
        await self._add(Revoked(f"token:{claims.token_id}", claims.issued_us, claims.expires_us))

    async def revoke_grant(self, grant: str) -> None:
        """Take back every token that goes back to a consent or a sign-in."""
        await self._add(self._until_now(f"grant:{grant}"))

    async def revoke_grants(self, grants: Iterable[str], *, tx: RevocationTransaction) -> None:
        """Take back every token of consents or sign-ins that a transaction ends, if and only if it commits.

        From then on they are refused here, before whoever waits for the commit hears of it.
        """
        entries = [self._until_now(f"grant:{grant}") for grant in grants]
        if entries:
            await self._store.add(entries, tx=tx)
            tx.after_commit(lambda: self._keep(entries))

    async def revoke_subject(self, subject: str) -> None:
        """Take back every token of somebody, those that are issued later in this second too."""
        await self._add(self._until_now(f"subject:{subject}"))

    async def refresh(self) -> None:
        """Learn what others have added. Called by itself; by hand in tests."""
        asked_us, begun_s = world.now_us(), world.monotonic()
        overlap_us = round(LEAST_OVERLAP_S * _MICROS)
        found = await self._store.since(max(0, self._asked_us - overlap_us))
        self._keep(found)
        self._asked_us, self._news_at_s = asked_us, begun_s

    def _until_now(self, key: str) -> Revoked:
        now_us = world.now_us()
        return Revoked(key, now_us, now_us + self._lifetime_us)

    async def _add(self, entry: Revoked) -> None:
        # Here first: if the store fails, the caller hears it, and this process refuses the token all the same.
        self._keep([entry])
        await self._store.add([entry])

    def _keep(self, entries: Sequence[Revoked]) -> None:
        for entry in entries:
            known = self._entries.get(entry.key)
            if known is None or known.before_us < entry.before_us:
                self._entries[entry.key] = entry
        if self._alone and world.now_us() >= self._forget_at_us:
            self._forget_expired()
        if len(self._entries) > self._limit:
            self._forget_expired()
        if len(self._entries) > self._limit:
            _log.warning("too many revocations: every token issued so far is refused", limit=self._limit)
            self._all_before_us = world.now_us()
            self._entries.clear()

    def _forget_expired(self) -> None:
        now_us = world.now_us()
        self._forget_at_us = now_us + self._lifetime_us
        self._entries = {key: entry for key, entry in self._entries.items() if entry.expires_us > now_us}

    async def _look(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._refresh_s):
                    await self._wake.wait()
            except TimeoutError:
                self._forget_expired()
            self._wake.clear()
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next question may be answered
                _log.warning("revocations: no news", exc_info=error)
