"""Users: registration, sign-in, profiles and roles. The only place that ever sees a password."""

from datetime import UTC, datetime
from functools import cached_property
from typing import Final, NamedTuple, cast, get_args

from archstone import world
from archstone.context import Principal
from archstone.data import ConstraintError
from archstone.security import (
    REFRESH_SCHEMA,
    Passwords,
    RefreshToken,
    RefreshTokenError,
    RefreshTokens,
    Statements,
    Tokens,
)
from archstone.services import Service, every
from archstone.systems.shop.notifications.mail import Language
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.users import administering, browsers, leaving
from archstone.systems.shop.users.contract import (
    BrowserSession,
    BrowserSessions,
    Contact,
    DeactivatedError,
    EmailTakenError,
    Preferences,
    Role,
    Session,
    SessionEndedError,
    Sessions,
    SignInError,
    Theme,
    User,
    UserAdmin,
    UserChanges,
    UserPage,
    UserRead,
    UserUnknownError,
    UserWrite,
    Visitor,
    WrongPasswordError,
)
from archstone.systems.shop.users.events import PasswordChanged
from archstone.systems.shop.users.strength import check_password

__all__ = ["UsersService"]

SWEEP_S: Final = 3600.0
_EACH_ROLE: Final = " || ".join(f"max(CASE role WHEN '{role}' THEN ' {role}' ELSE '' END)" for role in get_args(Role))
# No function that joins texts over rows is spelt the same in SQLite and PostgreSQL.
_ROLES: Final = f"coalesce((SELECT {_EACH_ROLE} FROM roles r WHERE r.user_id = u.id), '') AS roles"  # noqa: S608 - constants, as below
_USERS: Final = (
    "SELECT u.id, u.email, u.name, u.password_hash, u.created_at, u.active,"  # noqa: S608 - constants
    f" CASE WHEN u.deleted_at IS NULL THEN 0 ELSE 1 END AS deleted, {_ROLES} FROM users u"
)
_STANDS: Final = "u.deleted_at IS NULL"
_LIKES: Final = "SELECT email, name, language, theme FROM users u WHERE id = :id AND u.deleted_at IS NULL"
_FITS: Final = (
    "u.deleted_at IS NULL AND (u.created_at, u.id) > (:at, :id)"
    " AND (CAST(:search AS TEXT) IS NULL OR replace(u.email, CAST(:low AS TEXT), '') <> u.email"
    " OR replace(u.name, :search, '') <> u.name OR replace(lower(u.name), :low, '') <> lower(u.name))"
    " AND (CAST(:role AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM roles f WHERE f.user_id = u.id AND f.role = :role))"
    " AND (CAST(:active AS BIGINT) IS NULL OR u.active = :active)"
)


class _Row(NamedTuple):
    id: str
    email: str
    name: str
    password_hash: str
    created_at: int
    roles: str
    active: int = 1
    deleted: int = 0

    def user(self) -> User:
        roles = cast("tuple[Role, ...]", tuple(sorted(self.roles.split())))
        created_at = datetime.fromtimestamp(self.created_at / 1_000_000, UTC)
        return User(
            id=self.id, email="" if self.deleted else self.email, name=self.name, roles=roles, created_at=created_at,
            active=bool(self.active), deleted=bool(self.deleted),
        )  # fmt: skip


class _Preferred(NamedTuple):
    email: str
    name: str
    language: str
    theme: str


class _Visit(NamedTuple):
    id: str
    email: str
    name: str
    created_at: int
    roles: str
    language: str
    theme: str
    seen_at: int

    def visitor(self) -> Visitor:
        user = _Row(self.id, self.email, self.name, "", self.created_at, self.roles).user()
        liked = Preferences(language=cast("Language", self.language), theme=cast("Theme", self.theme))
        return Visitor(user=user, preferences=liked, renew=browsers.due(self.seen_at))


_VISIT: Final = (
    "SELECT u.id, u.email, u.name, u.created_at, u.language, u.theme, b.seen_at,"  # noqa: S608 - constants
    f" {_ROLES} FROM browser_sessions b JOIN users u ON u.id = b.user_id WHERE {browsers.ALIVE} AND u.active = 1"
)


class UsersService(Service, Sessions, BrowserSessions, UserRead, UserWrite, UserAdmin, name="users"):
    """Keeps `Sessions`, `BrowserSessions`, `UserRead`, `UserWrite` and `UserAdmin`."""

    passwords: Passwords
    tokens: Tokens

    schemas = (REFRESH_SCHEMA,)

    @cached_property
    def _refresh(self) -> RefreshTokens:
        return RefreshTokens(self.db)

    @property
    def _statements(self) -> Statements:
        # The port of refresh tokens is spelled with `async def`, which a type checker tells from what `tx` returns.
        return cast("Statements", self.tx)

    async def login(self, email: str, password: str) -> Session:
        row = await self._signed_in(email, password)
        return self._session(row, await self._refresh.issue(row.id, self._statements))

    async def begin(self, email: str, password: str, instead_of: str | None = None) -> BrowserSession:
        row = await self._signed_in(email, password)
        if instead_of is not None:
            await browsers.end(self.tx, instead_of)
        return BrowserSession(token=await browsers.begin(self.tx, row.id), user=row.user())

    async def visitor(self, mark: str) -> Visitor:
        seen_after, begun_after = browsers.limits()
        visit = await self.db.first(_Visit, _VISIT, mark=mark, seen_after=seen_after, begun_after=begun_after)
        if visit is None:
            raise SessionEndedError
        return visit.visitor()

    async def renew(self, mark: str) -> None:
        await browsers.renew(self.tx, mark)

    async def end(self, mark: str) -> None:
        await browsers.end(self.tx, mark)

    async def end_all(self, user_id: str) -> None:
        await browsers.end_all(self.tx, user_id)
        await self._refresh.revoke_user(self._statements, user_id=user_id)

    async def refresh(self, refresh_token: str) -> Session:
        try:
            rotated = await self._refresh.rotate(refresh_token, self._statements)
        except RefreshTokenError as error:
            raise SessionEndedError from error
        row = await self.tx.first(_Row, f"{_USERS} WHERE u.id = :id AND u.active = 1", id=rotated.user_id)
        if row is None:
            raise SessionEndedError
        return self._session(row, rotated.token)

    async def logout(self, refresh_token: str) -> None:
        await self._refresh.revoke(self._statements, token=refresh_token)

    async def me(self) -> User:
        row = await self.db.first(_Row, f"{_USERS} WHERE u.id = :id AND {_STANDS}", id=self.principal.id)
        if row is None:
            raise UserUnknownError
        return row.user()

    async def preferences(self) -> Preferences:
        found = await self.db.first(_Preferred, _LIKES, id=self.principal.id)
        if found is None:
            raise UserUnknownError
        return Preferences(language=cast("Language", found.language), theme=cast("Theme", found.theme))

    async def contact(self, user_id: str) -> Contact:
        found = await self.db.first(_Preferred, _LIKES, id=user_id)
        if found is None:
            raise UserUnknownError
        return Contact(email=found.email, name=found.name, language=cast("Language", found.language))

    async def register(self, email: str, password: str, name: str) -> User:
        check_password(password, email)
        password_hash = await self.passwords.hash(password)  # before the transaction: it takes a while
        now_us = world.now_us()
        row = _Row(world.new_id(), email, name, password_hash, now_us, "customer")
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
        check_password(new, row.email)
        password_hash = await self.passwords.hash(new)  # before the transaction, too
        changed = await self.tx.execute(
            "UPDATE users SET password_hash = :new WHERE id = :id AND password_hash = :old",
            new=password_hash, old=row.password_hash, id=row.id,
        )  # fmt: skip
        if not changed:  # somebody else was faster: what was checked is not the password any more
            raise WrongPasswordError
        await browsers.end_all(self.tx, row.id, but=browser)
        await self._refresh.revoke_user(self._statements, user_id=row.id, but=refresh_token)
        self.tx.publish(PasswordChanged(user_id=row.id, at=world.now()))

    async def delete_account(self, password: str) -> None:
        row = await self._asked_again(password)
        if not await leaving.erase(self.tx, row.id, email=row.email, checked=row.password_hash):
            raise WrongPasswordError  # it was changed meanwhile
        await self.end_all(row.id)

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
            _Row, f"{_USERS} WHERE {_FITS} ORDER BY u.created_at, u.id LIMIT :limit",
            at=after[0], id=after[1], search=search or None, low=search.lower() if search else None, role=role,
            active=None if active is None else int(active), limit=limit + 1,
        )  # fmt: skip
        page, more = rows[:limit], rows[limit:]
        next_cursor = encode_cursor(question, (page[-1].created_at, page[-1].id)) if more else None
        return UserPage(items=tuple(row.user() for row in page), next_cursor=next_cursor)

    async def user(self, user_id: str) -> User:
        row = await self.db.first(_Row, f"{_USERS} WHERE u.id = :id", id=user_id)
        if row is None:
            raise UserUnknownError
        return row.user()

    async def user_with(self, email: str) -> User | None:
        row = await self.db.first(_Row, f"{_USERS} WHERE u.email = :email", email=email)
        return None if row is None else row.user()

    async def user_changes(self, user_id: str, limit: int = 20, cursor: str | None = None) -> UserChanges:
        await self.user(user_id)
        return await administering.changes_of(self.db, user_id, limit=limit, cursor=cursor)

    async def grant(self, email: str, role: Role) -> User:
        row = await self._row("u.email", email)
        await administering.add_role(self.tx, row.id, role, by=self.principal.id)
        return (await self._row("u.id", row.id)).user()

    async def withdraw(self, email: str, role: Role) -> User:
        row = await self._row("u.email", email)
        await administering.remove_role(self.tx, row.id, role, by=self.principal.id)
        await self.end_all(row.id)
        return (await self._row("u.id", row.id)).user()

    async def deactivate(self, user_id: str, reason: str) -> User:
        await self._row("u.id", user_id)
        await administering.set_active(self.tx, user_id, active=False, by=self.principal.id, reason=reason)
        await self.end_all(user_id)
        return (await self._row("u.id", user_id)).user()

    async def reactivate(self, user_id: str) -> User:
        await self._row("u.id", user_id)
        await administering.set_active(self.tx, user_id, active=True, by=self.principal.id)
        return (await self._row("u.id", user_id)).user()

    @every(SWEEP_S)
    async def forget_expired(self) -> None:
        """Delete refresh tokens and browser sessions whose time is over."""
        await browsers.sweep(self.tx)
        while await self._refresh.sweep(self._statements):
            pass

    async def _signed_in(self, email: str, password: str) -> _Row:
        """Return whose address and password these are.

        Raises:
            SignInError: nobody's.
        """
        row = await self.db.first(_Row, f"{_USERS} WHERE u.email = :email", email=email)
        # Also for an address that nobody has: the same work, the same time, the same answer.
        verdict = await self.passwords.verify(None if row is None else row.password_hash, password)
        if row is None or not verdict.right:
            raise SignInError
        # Again, now in the transaction: a role may have been withdrawn, or the password changed, during the long check.
        current = await self.tx.first(_Row, f"{_USERS} WHERE u.id = :id", id=row.id)
        if current is None or current.password_hash != row.password_hash:
            raise SignInError
        if not current.active:
            raise DeactivatedError
        if verdict.new_hash is not None:
            await self.tx.execute(
                "UPDATE users SET password_hash = :new WHERE id = :id", new=verdict.new_hash, id=row.id
            )
        return current

    async def _asked_again(self, password: str) -> _Row:
        """Return who is signed in, after checking the password once more. No transaction has begun yet.

        Raises:
            UserUnknownError: the account was closed or deleted.
            WrongPasswordError: it is not the password.
        """
        row = await self.db.first(_Row, f"{_USERS} WHERE u.id = :id AND u.active = 1", id=self.principal.id)
        if row is None:
            raise UserUnknownError
        if not (await self.passwords.verify(row.password_hash, password)).right:
            raise WrongPasswordError
        return row

    async def _row(self, column: str, value: str) -> _Row:
        row = await self.tx.first(_Row, f"{_USERS} WHERE {column} = :value AND {_STANDS}", value=value)
        if row is None:
            raise UserUnknownError
        return row

    def _session(self, row: _Row, refresh: RefreshToken) -> Session:
        access = self.tokens.issue(Principal(row.id, frozenset(row.roles.split())))
        return Session(access_token=access.text, refresh_token=refresh.text, expires_in=access.expires_in_s)
