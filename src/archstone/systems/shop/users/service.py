"""Users: registration, profiles and roles; signing in and second factors are in what it is built on.

The only place that ever sees a password.
"""

from typing import Final

from archstone import world
from archstone.data import ConstraintError
from archstone.resilience import RateLimitedError
from archstone.services import every
from archstone.systems.shop.notifications.mail import Language
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.users import administering, browsers, factorstore, formerly, leaving
from archstone.systems.shop.users.contract import (
    Contact,
    EmailTakenError,
    Preferences,
    Role,
    SignUpByMailError,
    Theme,
    User,
    UserAdmin,
    UserChanges,
    UserPage,
    UserRead,
    UserUnknownError,
    UserWrite,
)
from archstone.systems.shop.users.events import SignUpAsked
from archstone.systems.shop.users.joining import SignUpMail, SignUps, SignUpWay
from archstone.systems.shop.users.proving import TicketError, TooManyTriesError, WrongPasswordError
from archstone.systems.shop.users.readdressing import Readdressing
from archstone.systems.shop.users.rows import FITS, LIKES, LIKES_BY_EMAIL, STANDS, USERS, Preferred, Row
from archstone.systems.shop.users.safeguards import place
from archstone.systems.shop.users.tickets import EMAIL_S

__all__ = ["UsersService"]

SWEEP_S: Final = 3600.0
ANCHOR_S: Final = 60.0


class UsersService(Readdressing, SignUps, UserRead, UserWrite, UserAdmin, name="users"):
    """Keeps `SignUps`, `UserRead`, `UserWrite` and `UserAdmin` as well."""

    async def me(self) -> User:
        row = await self.db.first(Row, f"{USERS} WHERE u.id = :id AND {STANDS}", id=self.principal.id)
        if row is None:
            raise UserUnknownError
        return row.user()

    async def preferences(self) -> Preferences:
        found = await self.db.first(Preferred, LIKES, id=self.principal.id)
        if found is None:
            raise UserUnknownError
        return found.preferences()

    async def contact(self, user_id: str) -> Contact:
        found = await self.db.first(Preferred, LIKES, id=user_id)
        if found is None:
            raise UserUnknownError
        return found.contact()

    async def register(self, email: str, password: str, name: str) -> User:
        if self.guard.sign_up_by_mail:
            raise SignUpByMailError
        await self._count_sign_up()
        return await self._registered(email, password, name)

    async def sign_up_way(self) -> SignUpWay:
        return SignUpWay(way="by-mail" if self.guard.sign_up_by_mail else "at-once")

    async def ask_sign_up(self, email: str) -> None:
        await self._count_sign_up()
        try:
            await self.guard.reset_mails.turn(email)
        except RateLimitedError:
            return  # a flood of mails; whether there is such an account was not looked at
        # Looked up by whoever writes the mail: here nothing depends on whether there is somebody.
        self.tx.publish(SignUpAsked(email=email, at=world.now()))

    async def sign_up_mail(self, email: str) -> SignUpMail:
        found = await self.db.first(Preferred, LIKES_BY_EMAIL, email=email)
        if found is not None:
            return SignUpMail(ticket=None, contact=found.contact())
        return SignUpMail(ticket=self.guard.tickets.issue("sign-up", EMAIL_S, email=email), contact=None)

    async def sign_up(self, ticket: str, password: str, name: str) -> User:
        told = self.guard.tickets.read("sign-up", ticket)
        return await self._registered(told["email"], password, name)

    async def _count_sign_up(self) -> None:
        if where := place():
            try:
                await self.guard.sign_ups.turn(where)
            except RateLimitedError as error:
                raise TooManyTriesError(error.retry_after_s) from error

    async def _registered(self, email: str, password: str, name: str) -> User:
        now_us = world.now_us()
        row = Row(world.new_id(), email, name, "", now_us, "customer")
        password_hash = await self._hashed(password, row)  # before the transaction: it takes a while
        if await formerly.held_by_others(self.tx, email, row.id):
            raise EmailTakenError(email)
        try:
            await self.tx.execute(
                "INSERT INTO users (id, email, name, password_hash, created_at)"
                " VALUES (:id, :email, :name, :password_hash, :at)",
                id=row.id, email=email, name=name, password_hash=password_hash, at=now_us,
            )  # fmt: skip
        except ConstraintError as error:
            raise EmailTakenError(email) from error
        await self.tx.execute(
            "INSERT INTO roles (user_id, role, granted_at) VALUES (:id, 'customer', :at)", id=row.id, at=now_us
        )
        await self._audit.record("users.registered", subject=row.id, who=row.id, tx=self.tx)
        return row.user()

    async def rename(self, name: str) -> User:
        await self.tx.execute(
            "UPDATE users SET name = :name WHERE id = :id AND deleted_at IS NULL", name=name, id=self.principal.id
        )
        return (await self._row("u.id", self.principal.id)).user()

    async def change_password(
        self, current: str, new: str, refresh_token: str | None = None, browser: str | None = None
    ) -> None:
        row = await self._asked_again(current)
        password_hash = await self._hashed(new, row)
        try:
            await self._set_password(row, password_hash, keep_browser=browser, keep_token=refresh_token)
        except TicketError as error:  # somebody else was faster: what was checked is not the password any more
            raise WrongPasswordError from error
        await self._audit.record("users.password-changed", subject=row.id, tx=self.tx)

    async def delete_account(self, password: str) -> None:
        row = await self._asked_again(password)
        if not await leaving.erase(self.tx, row.id, email=row.email, checked=row.password_hash):
            raise WrongPasswordError  # it was changed meanwhile
        await self.end_all(row.id)
        await self._audit.record("users.account-deleted", subject=row.id, tx=self.tx)

    async def prefer(self, language: Language = "en", theme: Theme = "auto") -> Preferences:
        changed = await self.tx.execute(
            "UPDATE users SET language = :language, theme = :theme WHERE id = :id AND deleted_at IS NULL",
            language=language, theme=theme, id=self.principal.id,
        )  # fmt: skip
        if not changed:
            raise UserUnknownError
        return Preferences(language=language, theme=theme)

    async def users(
        self,
        search: str | None = None,
        role: Role | None = None,
        active: bool | None = None,  # noqa: FBT001 - as the contract has it
        limit: int = 20,
        cursor: str | None = None,
    ) -> UserPage:
        question = "users" if (search, role, active) == (None, None, None) else f"users|{search}|{role}|{active}"
        after: tuple[object, ...] = (0, "")
        if cursor is not None:
            after = decode_cursor(question, cursor, like=(0, ""))
        rows = await self.db.all(
            Row, f"{USERS} WHERE {FITS} ORDER BY u.created_at, u.id LIMIT :limit",
            at=after[0], id=after[1], search=search or None, low=search.lower() if search else None, role=role,
            active=None if active is None else int(active), limit=limit + 1,
        )  # fmt: skip
        page, more = rows[:limit], rows[limit:]
        next_cursor = encode_cursor(question, (page[-1].created_at, page[-1].id)) if more else None
        return UserPage(items=tuple(row.user() for row in page), next_cursor=next_cursor)

    async def user(self, user_id: str) -> User:
        row = await self.db.first(Row, f"{USERS} WHERE u.id = :id", id=user_id)
        if row is None:
            raise UserUnknownError
        return row.user()

    async def user_with(self, email: str) -> User | None:
        row = await self.db.first(Row, f"{USERS} WHERE u.email = :email", email=email)
        return None if row is None else row.user()

    async def user_changes(self, user_id: str, limit: int = 20, cursor: str | None = None) -> UserChanges:
        await self.user(user_id)
        return await administering.changes_of(self.db, user_id, limit=limit, cursor=cursor)

    async def grant(self, email: str, role: Role) -> User:
        row = await self._row("u.email", email)
        await administering.add_role(self.tx, row.id, role, by=self.principal.id)
        await self._audit.record("users.role-granted", subject=row.id, details={"role": role}, tx=self.tx)
        return (await self._row("u.id", row.id)).user()

    async def withdraw(self, email: str, role: Role) -> User:
        row = await self._row("u.email", email)
        await administering.remove_role(self.tx, row.id, role, by=self.principal.id)
        await self._audit.record("users.role-withdrawn", subject=row.id, details={"role": role}, tx=self.tx)
        await self.end_all(row.id)
        return (await self._row("u.id", row.id)).user()

    async def deactivate(self, user_id: str, reason: str) -> User:
        await self._row("u.id", user_id)
        await administering.set_active(self.tx, user_id, active=False, by=self.principal.id, reason=reason)
        # Without the reason: it is about a person, and must be erasable.
        await self._audit.record("users.deactivated", subject=user_id, tx=self.tx)
        await self.end_all(user_id)
        await self.programs.end_all(user_id)
        return (await self._row("u.id", user_id)).user()

    async def reactivate(self, user_id: str) -> User:
        await self._row("u.id", user_id)
        await administering.set_active(self.tx, user_id, active=True, by=self.principal.id)
        await self._audit.record("users.reactivated", subject=user_id, tx=self.tx)
        return (await self._row("u.id", user_id)).user()

    @every(SWEEP_S)
    async def forget_expired(self) -> None:
        """Delete refresh tokens, revocations, browser sessions, ceremonies and audit records whose time is over."""
        await self.audits.sweep()
        await browsers.sweep(self.tx)
        await factorstore.sweep(self.tx)
        await formerly.sweep(self.tx)
        await self._audit.sweep(self.tx)
        while await self._revoked.sweep(tx=self.tx):
            pass
        while await self._refresh.sweep(self.tx):
            pass

    @every(ANCHOR_S)
    async def anchor_audit(self) -> None:
        """Remember outside of the databases where the audit logs end."""
        await self.audits.anchor()

    async def _row(self, column: str, value: str) -> Row:
        row = await self.tx.first(Row, f"{USERS} WHERE {column} = :value AND {STANDS}", value=value)
        if row is None:
            raise UserUnknownError
        return row
