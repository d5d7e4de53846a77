"""Signing in: by password, by a code after it, by passkey, and back in by mail. Everything that ends in a session."""

# ruff: noqa: D102 - each contract says what its operations promise

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import Final

from archstone import world
from archstone.context import Principal
from archstone.resilience import RateLimitedError
from archstone.security import (
    AUDIT_SCHEMA,
    REFRESH_SCHEMA,
    REVOCATION_SCHEMA,
    Attempts,
    AuditLog,
    Audits,
    BackupCodes,
    DatabaseRevocations,
    Passkey,
    PasskeyError,
    Passwords,
    RefreshToken,
    RefreshTokenError,
    RefreshTokens,
    Revocations,
    Tokens,
)
from archstone.services import Service
from archstone.systems.shop.programs.programs import Programs
from archstone.systems.shop.users import browsers, factorstore
from archstone.systems.shop.users.contract import (
    BrowserSession,
    BrowserSessions,
    DeactivatedError,
    Session,
    SessionEndedError,
    Sessions,
    SignInError,
    Visitor,
)
from archstone.systems.shop.users.events import PasswordChanged, PasswordResetAsked, SecurityChange, SecurityChanged
from archstone.systems.shop.users.proving import (
    PasskeyAsk,
    PasskeyRefusedError,
    Recovery,
    ResetTicket,
    SecondFactorError,
    TicketError,
    TooManyTriesError,
    WeakPasswordError,
    WrongCodeError,
)
from archstone.systems.shop.users.rows import LIKES, STANDS, USERS, VISIT, Preferred, Row, Visit, withheld
from archstone.systems.shop.users.safeguards import Safeguards, place
from archstone.systems.shop.users.tickets import CEREMONY_S, RESET_S, SIGN_IN_S, digest

__all__ = ["SigningIn"]


_LOOK_S: Final = 15.0
_STALE_S: Final = 60.0
"""Where several processes share the database: it tells them at once what was revoked, and looking is a net."""


class SigningIn(Service, Sessions, BrowserSessions, Recovery, name="users"):
    """Keeps `Sessions`, `BrowserSessions` and `Recovery`."""

    passwords: Passwords
    tokens: Tokens
    guard: Safeguards
    audits: Audits
    programs: Programs

    schemas = (REFRESH_SCHEMA, REVOCATION_SCHEMA, AUDIT_SCHEMA)

    def companions(self) -> Sequence[AbstractAsyncContextManager[object]]:
        """Have access tokens refused whose session has ended."""
        self.tokens.refuse(self._revocations.is_revoked)
        return (self._revocations,)

    @cached_property
    def _revoked(self) -> DatabaseRevocations:
        return DatabaseRevocations(self.db)

    @cached_property
    def _revocations(self) -> Revocations:
        lifetime_s = float(self.tokens.lifetime_s)
        return Revocations(self._revoked, lifetime_s=lifetime_s, refresh_s=_LOOK_S, stale_s=_STALE_S)

    @cached_property
    def _refresh(self) -> RefreshTokens:
        return RefreshTokens(self.db, revocations=self._revocations)

    @cached_property
    def _backup(self) -> BackupCodes:
        return BackupCodes(self.passwords)

    @property
    def _audit(self) -> AuditLog:
        return self.audits.of(self.db, self.name)

    async def login(self, email: str, password: str) -> Session:
        return await self._session(await self._first_factor(email, password), "password")

    async def confirm(self, ticket: str, code: str) -> Session:
        return await self._session(await self._confirmed(ticket, code), "code")

    async def begin(self, email: str, password: str, instead_of: str | None = None) -> BrowserSession:
        return await self._browser(await self._first_factor(email, password), "password", instead_of)

    async def confirm_begin(self, ticket: str, code: str, instead_of: str | None = None) -> BrowserSession:
        return await self._browser(await self._confirmed(ticket, code), "code", instead_of)

    async def ask_passkey(self) -> PasskeyAsk:
        asked = self.guard.passkeys.begin_authentication()
        ceremony = self.guard.tickets.issue("passkey", CEREMONY_S, challenge=asked.challenge.hex())
        return PasskeyAsk(options=asked.options, ceremony=ceremony)

    async def begin_with_passkey(self, ceremony: str, answer: str, instead_of: str | None = None) -> BrowserSession:
        told = self.guard.tickets.read("passkey", ceremony)
        try:
            key = self.guard.passkeys.id_of(answer)
        except PasskeyError as error:
            raise PasskeyRefusedError from error
        account = f"passkey {key[:32].hex()}"
        async with self._tries(
            self.guard.passwords, account, (PasskeyRefusedError,), "users.sign-in", subject="a passkey"
        ):
            row = await self._passkey_owner(key, answer, bytes.fromhex(told["challenge"]))
        if not await factorstore.use_ceremony(self.tx, digest(ceremony), int(told["until"])):
            raise TicketError
        return await self._browser(row, "passkey", instead_of)

    async def visitor(self, mark: str) -> Visitor:
        seen_after, begun_after = browsers.limits()
        visit = await self.db.first(Visit, VISIT, mark=mark, seen_after=seen_after, begun_after=begun_after)
        if visit is None:
            raise SessionEndedError
        return visit.visitor(admins_need_factor=self.guard.admins_need_factor)

    async def renew(self, mark: str) -> None:
        await browsers.renew(self.tx, mark)

    async def end(self, mark: str) -> None:
        await browsers.end(self.tx, mark)

    async def end_all(self, user_id: str) -> None:
        await browsers.end_all(self.tx, user_id)
        await self._refresh.revoke_user(self.tx, user_id=user_id)

    async def refresh(self, refresh_token: str) -> Session:
        try:
            rotated = await self._refresh.rotate(refresh_token, self.tx)
        except RefreshTokenError as error:
            if error.fault == "reused":
                self.audits.system.note("users.refresh-token-reused", outcome="denied", subject=error.user_id)
            raise SessionEndedError from error
        row = await self.tx.first(Row, f"{USERS} WHERE u.id = :id AND u.active = 1", id=rotated.user_id)
        if row is None:
            raise SessionEndedError
        return self._tokens_for(row, rotated.token)

    async def logout(self, refresh_token: str) -> None:
        await self._refresh.revoke(self.tx, token=refresh_token)

    async def ask_reset(self, email: str) -> None:
        try:
            await self.guard.reset_mails.turn(email)
        except RateLimitedError:
            return  # a flood of mails; whether there is such an account was not looked at
        # Looked up by whoever writes the mail: here nothing depends on whether there is somebody.
        self.tx.publish(PasswordResetAsked(email=email, at=world.now()))

    async def reset_ticket(self, email: str) -> ResetTicket | None:
        row = await self.db.first(Row, f"{USERS} WHERE u.email = :email AND {STANDS} AND u.active = 1", email=email)
        if row is None:
            return None
        liked = await self.db.one(Preferred, LIKES, id=row.id)
        ticket = self.guard.tickets.issue("reset", RESET_S, user=row.id, mark=row.mark)
        return ResetTicket(ticket=ticket, contact=liked.contact())

    async def reset_password(
        self,
        ticket: str,
        new: str,
        code: str = "",
        programs: bool = False,  # noqa: FBT001, FBT002 - as the contract has it
    ) -> None:
        row = await self._ticket_owner("reset", ticket)
        password_hash = await self._hashed(new, row)  # before the transaction: it takes a while
        if row.totp:
            await self._second_factor(row, code)
        if programs:
            await self.programs.end_all(row.id)  # first: a crash between the two leaves a link that is good still
        await self._set_password(row, password_hash, keep_browser=None, keep_token=None)
        await self._audit.record("users.password-reset", subject=row.id, who=row.id, tx=self.tx)

    async def _set_password(
        self, row: Row, password_hash: str, *, keep_browser: str | None, keep_token: str | None
    ) -> None:
        """Store another password in place of the one in `row`, end sessions, and tell.

        Raises:
            TicketError: it is another one by now.
        """
        changed = await self.tx.execute(
            "UPDATE users SET password_hash = :new WHERE id = :id AND password_hash = :old",
            new=password_hash, old=row.password_hash, id=row.id,
        )  # fmt: skip
        if not changed:
            raise TicketError
        await self._end_others(row.id, keep_browser=keep_browser, keep_token=keep_token)
        self.tx.publish(PasswordChanged(user_id=row.id, at=world.now()))

    async def _end_others(self, user_id: str, *, keep_browser: str | None, keep_token: str | None = None) -> None:
        await browsers.end_all(self.tx, user_id, but=keep_browser)
        await self._refresh.revoke_user(self.tx, user_id=user_id, but=keep_token)

    async def _hashed(self, new: str, row: Row) -> str:
        """Return the hash of a new password.

        Raises:
            WeakPasswordError: it would be guessed.
        """
        flaw = await self.passwords.flaw(new, about=(row.email, row.name))
        if flaw is not None:
            raise WeakPasswordError(flaw.text)
        return await self.passwords.hash(new)

    async def _first_factor(self, email: str, password: str) -> Row:
        """Return whose address and password these are.

        Raises:
            SignInError: nobody's.
            DeactivatedError: the account is closed.
            SecondFactorError: that is not all it asks for.
            TooManyTriesError: too many were wrong.
        """
        row = await self.db.first(Row, f"{USERS} WHERE u.email = :email", email=email)
        # Asked for nobody as well: one question less would tell by its time.
        known = await self._knows_place(email if row is None else row.id)
        subject = "unknown" if row is None else row.id
        async with self._tries(
            self.guard.passwords, email, (SignInError,), "users.sign-in", subject=subject, known=known
        ):
            # Also for an address that nobody has: the same work, the same time, the same answer.
            verdict = await self.passwords.verify(None if row is None else row.password_hash, password)
            if row is None or not verdict.right:
                raise SignInError
        if not row.active:
            raise DeactivatedError
        if row.totp:
            facts = {"user": row.id, "mark": row.mark, "new": verdict.new_hash or ""}
            ticket = self.guard.tickets.issue("sign-in", SIGN_IN_S, **facts)
            raise SecondFactorError(ticket, ("totp", "backup"))
        return await self._still(row, verdict.new_hash)

    async def _confirmed(self, ticket: str, code: str) -> Row:
        row = await self._ticket_owner("sign-in", ticket)
        new_hash = self.guard.tickets.read("sign-in", ticket)["new"]
        await self._second_factor(row, code)
        return await self._still(row, new_hash or None)

    async def _ticket_owner(self, purpose: str, ticket: str) -> Row:
        """Return whose ticket it is; TicketError where address or password that it was made for are others by now."""
        told = self.guard.tickets.read("reset" if purpose == "reset" else "sign-in", ticket)
        row = await self.db.first(Row, f"{USERS} WHERE u.id = :id AND u.active = 1", id=told["user"])
        if row is None or row.mark != told.get("mark"):
            raise TicketError
        return row

    async def _still(self, row: Row, new_hash: str | None) -> Row:
        """Return the user as they are now, in the transaction: much may have happened during the long check.

        Raises:
            SignInError: the password was changed.
            DeactivatedError: the account was closed.
        """
        current = await self.tx.first(Row, f"{USERS} WHERE u.id = :id", id=row.id)
        if current is None or current.password_hash != row.password_hash:
            raise SignInError
        if not current.active:
            raise DeactivatedError
        if new_hash is not None:
            await self.tx.execute("UPDATE users SET password_hash = :new WHERE id = :id", new=new_hash, id=row.id)
        return current

    async def _second_factor(self, row: Row, code: str) -> None:
        """Use up a code of the app, or a backup code.

        Raises:
            WrongCodeError: it does not fit, or was used.
            TooManyTriesError: too many were wrong.
        """
        known = await self._knows_place(row.id)
        async with self._tries(
            self.guard.codes, row.id, (WrongCodeError,), "users.second-factor", subject=row.id, known=known
        ):
            if not (await self._fits_app(row, code) or await self._fits_backup(row, code)):
                raise WrongCodeError

    async def _fits_app(self, row: Row, code: str) -> bool:
        stored = await factorstore.totp_of(self.db, row.id)
        if stored is None:
            return False
        secret = self.guard.ring.open(bytes(stored.secret), context=totp_context(row.id))
        step = self.guard.totp.match(secret, code, after=stored.last_step)
        return step is not None and await factorstore.use_step(self.tx, row.id, step)

    async def _fits_backup(self, row: Row, code: str) -> bool:
        slot = self._backup.slot_of(code)
        if not slot:
            return False
        found = await factorstore.code_in(self.db, row.id, slot)
        fits = await self._backup.fits(None if found is None else found.hash, code)
        if found is None or not fits or not await factorstore.use_code(self.tx, row.id, found):
            return False
        await self._tell(row.id, "code-used")
        return True

    async def _passkey_owner(self, named: bytes, answer: str, challenge: bytes) -> Row:
        stored = await factorstore.passkey(self.db, named)
        if stored is None:
            raise PasskeyRefusedError
        try:
            key = Passkey(bytes(stored.credential), bytes(stored.public_key), stored.sign_count)
            used = self.guard.passkeys.finish_authentication(answer, challenge, key)
        except PasskeyError as error:
            raise PasskeyRefusedError from error
        if used.user and used.user.hex() != stored.user_id:
            raise PasskeyRefusedError
        row = await self.db.first(Row, f"{USERS} WHERE u.id = :id", id=stored.user_id)
        if row is None or not await factorstore.use_passkey(self.tx, stored, used.sign_count):
            raise PasskeyRefusedError
        if not row.active:
            raise DeactivatedError
        return row

    async def _session(self, row: Row, how: str) -> Session:
        await self._signed_in(row, how)
        return self._tokens_for(row, await self._refresh.issue(row.id, self.tx))

    async def _browser(self, row: Row, how: str, instead_of: str | None) -> BrowserSession:
        if instead_of is not None:
            await browsers.end(self.tx, instead_of)
        await self._signed_in(row, how)
        allowed = withheld(row, admins_need_factor=self.guard.admins_need_factor)
        return BrowserSession(token=await browsers.begin(self.tx, row.id), user=allowed.user())

    async def _signed_in(self, row: Row, how: str) -> None:
        if where := place():
            await factorstore.note_place(self.tx, row.id, self.guard.place_mark(row.id, where))
        await self._audit.record("users.signed-in", subject=row.id, who=row.id, details={"with": how}, tx=self.tx)

    async def _knows_place(self, user_id: str) -> bool:
        where = place()
        return bool(where) and await factorstore.knows_place(self.db, user_id, self.guard.place_mark(user_id, where))

    async def _tell(self, user_id: str, what: SecurityChange) -> None:
        """Record a change of what secures an account, and have its owner told by mail."""
        await self._audit.record(f"users.{what}", subject=user_id, who=user_id, tx=self.tx)
        self.tx.publish(SecurityChanged(user_id=user_id, what=what, at=world.now()))

    @asynccontextmanager
    async def _tries(
        self,
        attempts: Attempts,
        account: str,
        failures: tuple[type[Exception], ...],
        action: str,
        *,
        subject: str,
        known: bool = False,
    ) -> AsyncGenerator[None, None]:
        """Let one try pass, count it if it fails, and record that in the log of the system: this rolls back.

        Raises:
            TooManyTriesError: Too many have failed.
        """
        where = place()
        try:
            async with attempts.admit(account, where, failure=failures, known=known):
                yield
        except RateLimitedError as error:
            self.audits.system.note(action, outcome="denied", subject=subject, details={"why": "too many tries"})
            raise TooManyTriesError(error.retry_after_s) from error
        except failures as error:
            why = type(error).__name__
            self.audits.system.note(action, outcome="failed", subject=subject, details={"why": why})
            raise

    def _tokens_for(self, row: Row, refresh: RefreshToken) -> Session:
        allowed = withheld(row, admins_need_factor=self.guard.admins_need_factor)
        principal = Principal(row.id, frozenset(allowed.roles.split()))
        access = self.tokens.issue(principal, grant=refresh.family)
        return Session(access_token=access.text, refresh_token=refresh.text, expires_in=access.expires_in_s)


def totp_context(user_id: str) -> str:
    """Return to what the secret of an app is bound: it opens in no other row."""
    return f"totp_factors.secret/{user_id}"
