"""Accounts: who they are, how they sign in, and the keys of their programs. The only place that sees a password."""

import base64
from typing import Final, NamedTuple, cast

from archstone import world
from archstone.context import Principal
from archstone.data import ConstraintError
from archstone.resilience import RateLimitedError
from archstone.security import AUDIT_SCHEMA, ApiKey, Audits, Passwords, Tokens, TooManyApiKeysError
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
    UnknownKeyError,
    Visitor,
    WeakPasswordError,
    browser_mark,
)
from archstone.systems.exchange.accounts.guard import Guard, place
from archstone.systems.exchange.accounts.programs import Programs

__all__ = ["SESSION_S", "AccountsService"]

SESSION_S: Final = 14 * 86_400
"""Seconds that a browser's session lasts."""
MOST_SESSIONS: Final = 20
"""Of one account; the oldest makes room."""
SWEEP_S: Final = 3600.0
ANCHOR_S: Final = 60.0
FIRST_NUMBER: Final = 1001
"""Numbers below are for the house."""
_MICROS: Final = 1_000_000
_TOKEN_BYTES: Final = 32
_ROWS: Final = "SELECT a.number, a.email, a.name, a.password_hash, a.role FROM accounts a"


class Row(NamedTuple):
    """An account as it is stored."""

    number: int
    email: str | None
    name: str
    password_hash: str | None
    role: str

    def visitor(self) -> Visitor:
        """Return who that is."""
        return Visitor(account=self.number, name=self.name, email=self.email or "", role=cast("Role", self.role))


class AccountsService(Service, Accounts, Browsers, AccountAdmin, name="accounts"):
    """Keeps `Accounts`, `Browsers` and `AccountAdmin`."""

    passwords: Passwords
    tokens: Tokens
    guard: Guard
    programs: Programs
    audits: Audits

    schemas = (AUDIT_SCHEMA,)

    async def trial(self) -> Session:
        self._take_new()
        row = await self._opened(None, "", None)
        return self._session(row)

    async def register(self, email: str, password: str, name: str) -> Session:
        self._take_new()
        flaw = await self.passwords.flaw(password, about=(email, name))
        if flaw is not None:
            raise WeakPasswordError(flaw.text)
        password_hash = await self.passwords.hash(password)  # before the transaction: it takes a while
        return self._session(await self._opened(email, name, password_hash))

    async def login(self, email: str, password: str) -> Session:
        row = await self.db.first(Row, f"{_ROWS} WHERE a.email = :email", email=email)
        try:
            async with self.guard.passwords.admit(email, place(), failure=SignInError):
                row = await self._proved(row, password)
        except RateLimitedError as error:
            raise TooManyTriesError(error.retry_after_s) from error
        await self.audits.of(self.db, self.name).record("accounts.signed-in", subject=str(row.number), tx=self.tx)
        return self._session(row)

    async def me(self) -> Visitor:
        return (await self._mine()).visitor()

    async def keys(self) -> KeyPage:
        now_us = world.now_us()
        found = await self.programs.keys.keys_of(self.principal.id)
        good = [each for each in found if each.revoked_us is None and each.expires_us > now_us]
        return KeyPage(items=tuple(map(_key, good)))

    async def make_key(self, name: str, scopes: tuple[Scope, ...] = ("orders:read", "orders:write")) -> NewKey:
        try:
            made = await self.programs.keys.create(self.principal.id, name=name, scopes=scopes)
        except TooManyApiKeysError as error:
            raise UnknownKeyError(str(error)) from error
        return NewKey(text=made.text, key=_key(made.key))

    async def end_key(self, id: str) -> KeyPage:
        if not await self.programs.keys.revoke(id, owner=self.principal.id):
            raise UnknownKeyError("you have no such API key that is still good")
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
        await self.audits.of(self.db, self.name).record(
            "accounts.role-granted", subject=str(row.number), details={"role": role}, tx=self.tx
        )
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
        last = await self.tx.one(int, "SELECT coalesce(max(number), :before) FROM accounts", before=FIRST_NUMBER - 1)
        row = Row(last + 1, email, name or f"Trader {last + 1}", password_hash, "trader")
        try:
            await self.tx.execute(
                "INSERT INTO accounts (number, email, name, password_hash, role, created_at)"
                " VALUES (:number, :email, :name, :password_hash, :role, :at)",
                **row._asdict(), at=world.now_us(),
            )  # fmt: skip
        except ConstraintError as error:
            raise EmailTakenError(email or "") from error
        await self.audits.of(self.db, self.name).record("accounts.opened", subject=str(row.number), tx=self.tx)
        return row

    async def _mine(self) -> Row:
        row = await self.db.first(Row, f"{_ROWS} WHERE a.number = :number", number=int(self.principal.id))
        if row is None:
            raise NoSessionError
        return row

    def _session(self, row: Row) -> Session:
        token = self.tokens.issue(Principal(str(row.number), frozenset({row.role})))
        return Session(visitor=row.visitor(), access_token=token.text, expires_in=token.expires_in_s)

    def _take_new(self) -> None:
        try:
            self.guard.take_new()
        except RateLimitedError as error:
            raise TooManyTriesError(error.retry_after_s) from error

    async def _proved(self, row: Row | None, password: str) -> Row:
        """Return the account if that is its password. Also asked for nobody: the same work, time and answer."""
        verdict = await self.passwords.verify(None if row is None else row.password_hash, password)
        if row is not None and verdict.right:
            return row
        subject = "unknown" if row is None else str(row.number)
        self.audits.system.note("accounts.sign-in", outcome="failed", subject=subject)
        raise SignInError


def _ended_before() -> int:
    return world.now_us() - SESSION_S * _MICROS


def _key(key: ApiKey) -> Key:
    scopes = cast("tuple[Scope, ...]", tuple(key.scopes.split()))
    return Key(id=key.id, name=key.name, hint=key.hint, scopes=scopes, uses=key.uses)
