"""Accounts: who they are, how they sign in, and the keys of their programs. The only place that sees a password."""

import base64
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import Final, NamedTuple, cast

from archstone import world
from archstone.context import Principal
from archstone.data import ConstraintError
from archstone.resilience import RateLimitedError
from archstone.security import (
    AUDIT_SCHEMA,
    REVOCATION_SCHEMA,
    ApiKey,
    Audits,
    DatabaseRevocations,
    Passwords,
    Revocations,
    Tokens,
    TooManyApiKeysError,
)
from archstone.services import Service, every
from archstone.systems.exchange.accounts.contract import (
    AccountAdmin,
    Accounts,
    Browsers,
    EmailTakenError,
    Key,
    KeyPage,
    NewKey,
    NoSessionError,
    Role,
    Scope,
    Session,
    SignInError,
    TooManyTriesError,
    UnknownEmailError,
    UnknownHolderError,
    UnknownKeyError,
    Visitor,
    WeakPasswordError,
    WrongPasswordError,
    browser_mark,
)
from archstone.systems.exchange.accounts.guard import Guard, place
from archstone.systems.exchange.accounts.numbers import LAST_NUMBER, Numbers
from archstone.systems.exchange.accounts.programs import Programs

__all__ = ["SESSION_S", "AccountsService"]

SESSION_S: Final = 14 * 86_400
"""Seconds that a browser's session lasts."""
MOST_SESSIONS: Final = 20
"""Of one account; the oldest makes room."""
SWEEP_S: Final = 3600.0
ANCHOR_S: Final = 60.0
_MICROS: Final = 1_000_000
_TOKEN_BYTES: Final = 32
_ROWS: Final = "SELECT a.number, a.email, a.name, a.password_hash, a.role, a.epoch FROM accounts a"
_LOOK_S: Final = 15.0
_STALE_S: Final = 60.0
"""Where several processes share the database: it tells them at once what was revoked, and looking is a net."""


class Row(NamedTuple):
    """An account as it is stored."""

    number: int
    email: str | None
    name: str
    password_hash: str | None
    role: str
    epoch: int = 0
    """How often all of its tokens were ended: a token belongs to one epoch."""

    @property
    def grant(self) -> str:
        """What its tokens of this epoch go back to."""
        return f"{self.number}.{self.epoch}"

    def visitor(self) -> Visitor:
        """Return who that is."""
        return Visitor(account=self.number, name=self.name, email=self.email or "", role=cast("Role", self.role))


class AccountsService(Service, Accounts, Browsers, AccountAdmin, name="accounts"):
    """Keeps `Accounts`, `Browsers` and `AccountAdmin`."""

    passwords: Passwords
    tokens: Tokens
    guard: Guard
    numbers: Numbers
    programs: Programs
    audits: Audits

    schemas = (REVOCATION_SCHEMA, AUDIT_SCHEMA)

    def companions(self) -> Sequence[AbstractAsyncContextManager[object]]:
        """Have access tokens refused that were ended before their time."""
        self.tokens.refuse(self._revocations.is_revoked)
        return (self._revocations,)

    @cached_property
    def _revocations(self) -> Revocations:
        store, lifetime_s = DatabaseRevocations(self.db), float(self.tokens.lifetime_s)
        return Revocations(store, lifetime_s=lifetime_s, refresh_s=_LOOK_S, stale_s=_STALE_S)

    async def trial(self) -> Session:
        self._take_new()
        row = await self._opened(None, "", None)
        return self._session(row)

    async def register(self, email: str, password: str, name: str) -> Session:
        self._take_new()
        password_hash = await self._hashed(password, about=(email, name))
        return self._session(await self._opened(email, name, password_hash))

    async def login(self, email: str, password: str) -> Session:
        row = await self.db.first(Row, f"{_ROWS} WHERE a.email = :email", email=email)
        row = await self._proved(row, email, password, failure=SignInError)
        await self._recorded("accounts.signed-in", row.number)
        return self._session(row)

    async def me(self) -> Visitor:
        return (await self._mine()).visitor()

    async def change_password(self, current: str, new: str) -> Session:
        row = await self._mine()
        row = await self._proved(row, row.email or row.grant, current, failure=WrongPasswordError)
        password_hash = await self._hashed(new, about=(row.email or "", row.name))
        changed = await self.tx.execute(
            "UPDATE accounts SET password_hash = :new WHERE number = :number AND password_hash = :old",
            new=password_hash, number=row.number, old=row.password_hash,
        )  # fmt: skip
        if not changed:  # somebody was quicker, with the same password
            raise WrongPasswordError
        await self._recorded("accounts.password-changed", row.number)
        return self._session(await self._ended(row.number))

    async def sign_out(self) -> None:
        row = await self._mine()
        await self._recorded("accounts.signed-out", row.number)
        await self._ended(row.number)

    async def shut_out(self, account: int) -> None:
        await self.programs.keys.revoke_all(str(account))
        if await self.tx.first(int, "SELECT number FROM accounts WHERE number = :number", number=account) is None:
            raise UnknownHolderError(account)
        await self._recorded("accounts.shut-out", account)
        await self._ended(account)

    async def keys(self) -> KeyPage:
        found = await self.programs.keys.keys_of(self.principal.id)
        return KeyPage(items=tuple(_key(each) for each in found if each.stands))

    async def make_key(self, name: str, scopes: tuple[Scope, ...] = ("orders:read", "orders:write")) -> NewKey:
        try:
            made = await self.programs.keys.create(self.principal.id, name=name, scopes=scopes)
        except TooManyApiKeysError as error:
            raise UnknownKeyError(str(error)) from error
        told = {"id": made.key.id, "scopes": made.key.scopes}
        await self._recorded("accounts.key-made", int(self.principal.id), told)
        return NewKey(text=made.text, key=_key(made.key))

    async def end_key(self, id: str) -> KeyPage:
        if not await self.programs.keys.revoke(id, owner=self.principal.id):
            raise UnknownKeyError("you have no such API key that is still good")
        await self._recorded("accounts.key-ended", int(self.principal.id), {"id": id})
        return await self.keys()

    async def begin(self, account: int) -> str:
        token = base64.urlsafe_b64encode(world.secret_bytes(_TOKEN_BYTES)).decode("ascii").rstrip("=")
        await self.tx.execute(
            "DELETE FROM sessions WHERE account = :account AND mark NOT IN (SELECT mark FROM sessions"
            " WHERE account = :account ORDER BY begun_at DESC, mark LIMIT :keep)",
            account=account, keep=MOST_SESSIONS - 1,
        )  # fmt: skip
        await self.tx.execute(
            "INSERT INTO sessions (mark, account, begun_at) VALUES (:mark, :account, :at)",
            mark=browser_mark(token), account=account, at=world.now_us(),
        )  # fmt: skip
        return token

    async def visitor(self, mark: str) -> Visitor:
        row = await self.db.first(
            Row, f"{_ROWS} JOIN sessions s ON s.account = a.number WHERE s.mark = :mark AND s.begun_at > :after",
            mark=mark, after=_ended_before(),
        )  # fmt: skip
        if row is None:
            raise NoSessionError
        return row.visitor()

    async def end(self, mark: str) -> None:
        await self.tx.execute("DELETE FROM sessions WHERE mark = :mark", mark=mark)

    async def grant(self, email: str, role: Role) -> Visitor:
        changed = await self.tx.execute("UPDATE accounts SET role = :role WHERE email = :email", role=role, email=email)
        if not changed:
            raise UnknownEmailError(email)
        row = await self.tx.one(Row, f"{_ROWS} WHERE a.email = :email", email=email)
        await self._recorded("accounts.role-granted", row.number, {"role": role})
        await self._ended(row.number, but_browsers=True)
        return row.visitor()

    @every(SWEEP_S)
    async def forget_ended(self) -> None:
        """Delete sessions whose time is over, and old records of audits."""
        await self.audits.sweep()
        await self.tx.execute("DELETE FROM sessions WHERE begun_at <= :before", before=_ended_before())
        await self.audits.of(self.db, self.name).sweep(self.tx)

    @every(ANCHOR_S)
    async def anchor_audits(self) -> None:
        """Remember outside of the databases where the audit logs end."""
        for log in self.audits.logs:
            await log.anchor()

    async def _opened(self, email: str | None, name: str, password_hash: str | None) -> Row:
        kept = await self.tx.one(int, "SELECT coalesce(max(number), 0) FROM accounts")
        last = max(kept, self.numbers.used)
        if last >= LAST_NUMBER:
            raise TooManyTriesError(SWEEP_S)
        row = Row(last + 1, email, name or f"Trader {last + 1}", password_hash, "trader")
        try:
            await self.tx.execute(
                "INSERT INTO accounts (number, email, name, password_hash, role, created_at)"
                " VALUES (:number, :email, :name, :password_hash, :role, :at)",
                number=row.number, email=email, name=row.name, password_hash=password_hash, role=row.role,
                at=world.now_us(),
            )  # fmt: skip
        except ConstraintError as error:
            raise EmailTakenError(email or "") from error
        await self._recorded("accounts.opened", row.number)
        return row

    async def _ended(self, number: int, *, but_browsers: bool = False) -> Row:
        """End all sessions and tokens of an account, and return it in its new epoch."""
        if not but_browsers:
            await self.tx.execute("DELETE FROM sessions WHERE account = :number", number=number)
        await self.tx.execute("UPDATE accounts SET epoch = epoch + 1 WHERE number = :number", number=number)
        row = await self.tx.one(Row, f"{_ROWS} WHERE a.number = :number", number=number)
        await self._revocations.revoke_grants([row._replace(epoch=row.epoch - 1).grant], tx=self.tx)
        return row

    async def _recorded(self, action: str, number: int, details: Mapping[str, object] | None = None) -> None:
        log = self.audits.of(self.db, self.name)
        await log.record(action, subject=str(number), details=details, tx=self.tx)

    async def _mine(self) -> Row:
        row = await self.db.first(Row, f"{_ROWS} WHERE a.number = :number", number=int(self.principal.id))
        if row is None:
            raise NoSessionError
        return row

    def _session(self, row: Row) -> Session:
        token = self.tokens.issue(Principal(str(row.number), frozenset({row.role})), grant=row.grant)
        return Session(visitor=row.visitor(), access_token=token.text, expires_in=token.expires_in_s)

    def _take_new(self) -> None:
        try:
            self.guard.take_new()
        except RateLimitedError as error:
            raise TooManyTriesError(error.retry_after_s) from error

    async def _hashed(self, password: str, *, about: Sequence[str]) -> str:
        """Return a new password as it is stored; before the transaction, since it takes a while."""
        flaw = await self.passwords.flaw(password, about=about)
        if flaw is not None:
            raise WeakPasswordError(flaw.text)
        return await self.passwords.hash(password)

    async def _proved(
        self, row: Row | None, called: str, password: str, *, failure: type[SignInError | WrongPasswordError]
    ) -> Row:
        """Return the account if that is its password. Also asked for nobody: the same work, time and answer."""
        try:
            async with self.guard.passwords.admit(called, place(), failure=failure):
                verdict = await self.passwords.verify(None if row is None else row.password_hash, password)
                if row is not None and verdict.right:
                    return row
                subject = "unknown" if row is None else str(row.number)
                self.audits.system.note("accounts.sign-in", outcome="failed", subject=subject)
                raise failure
        except RateLimitedError as error:
            raise TooManyTriesError(error.retry_after_s) from error


def _ended_before() -> int:
    return world.now_us() - SESSION_S * _MICROS


def _key(key: ApiKey) -> Key:
    scopes = cast("tuple[Scope, ...]", tuple(key.scopes.split()))
    return Key(id=key.id, name=key.name, hint=key.hint, scopes=scopes, uses=key.uses)
