"""Users as they are stored."""

from datetime import UTC, datetime
from typing import Final, NamedTuple, cast, get_args

from archstone.systems.shop.notifications.mail import Language
from archstone.systems.shop.users import browsers
from archstone.systems.shop.users.contract import Contact, Preferences, Role, Theme, User, Visitor
from archstone.systems.shop.users.tickets import digest

__all__ = ["FITS", "LIKES", "LIKES_BY_EMAIL", "STANDS", "USERS", "VISIT", "Preferred", "Row", "Visit", "withheld"]

_EACH_ROLE: Final = " || ".join(f"max(CASE role WHEN '{role}' THEN ' {role}' ELSE '' END)" for role in get_args(Role))
# No function that joins texts over rows is spelt the same in SQLite and PostgreSQL.
_ROLES: Final = f"coalesce((SELECT {_EACH_ROLE} FROM roles r WHERE r.user_id = u.id), '') AS roles"  # noqa: S608 - constants, as below
_FACTORS: Final = (
    "(SELECT count(*) FROM totp_factors t WHERE t.user_id = u.id) AS totp,"
    " (SELECT count(*) FROM passkeys p WHERE p.user_id = u.id) AS passkeys"
)
USERS: Final = (
    "SELECT u.id, u.email, u.name, u.password_hash, u.created_at, u.active,"  # noqa: S608 - constants
    f" CASE WHEN u.deleted_at IS NULL THEN 0 ELSE 1 END AS deleted, {_ROLES}, {_FACTORS} FROM users u"
)
STANDS: Final = "u.deleted_at IS NULL"
LIKES: Final = "SELECT email, name, language, theme FROM users u WHERE id = :id AND u.deleted_at IS NULL"
LIKES_BY_EMAIL: Final = "SELECT email, name, language, theme FROM users u WHERE email = :email AND u.deleted_at IS NULL"
FITS: Final = (
    "u.deleted_at IS NULL AND (u.created_at, u.id) > (:at, :id)"
    " AND (CAST(:search AS TEXT) IS NULL OR replace(u.email, CAST(:low AS TEXT), '') <> u.email"
    " OR replace(u.name, :search, '') <> u.name OR replace(lower(u.name), :low, '') <> lower(u.name))"
    " AND (CAST(:role AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM roles f WHERE f.user_id = u.id AND f.role = :role))"
    " AND (CAST(:active AS BIGINT) IS NULL OR u.active = :active)"
)
VISIT: Final = (
    "SELECT u.id, u.email, u.name, u.created_at, u.language, u.theme, b.seen_at, b.proved_at,"  # noqa: S608 - constants
    f" {_ROLES}, {_FACTORS} FROM browser_sessions b JOIN users u ON u.id = b.user_id"
    f" WHERE {browsers.ALIVE} AND u.active = 1"
)


class Row(NamedTuple):
    """A user."""

    id: str
    email: str
    name: str
    password_hash: str
    created_at: int
    roles: str
    active: int = 1
    deleted: int = 0
    totp: int = 0
    passkeys: int = 0

    @property
    def mark(self) -> str:
        """What tickets are bound to: with another password or another address they open nothing."""
        return digest(f"{self.email}\n{self.password_hash}")

    @property
    def has_factor(self) -> bool:
        """Whether there is more than a password."""
        return bool(self.totp or self.passkeys)

    def user(self) -> User:
        """Return what others may know."""
        roles = cast("tuple[Role, ...]", tuple(sorted(self.roles.split())))
        created_at = datetime.fromtimestamp(self.created_at / 1_000_000, UTC)
        return User(
            id=self.id, email="" if self.deleted else self.email, name=self.name, roles=roles, created_at=created_at,
            active=bool(self.active), deleted=bool(self.deleted),
        )  # fmt: skip


class Preferred(NamedTuple):
    """How a user likes the shop, and how to write to them."""

    email: str
    name: str
    language: str
    theme: str

    def preferences(self) -> Preferences:
        """Return how they like it."""
        return Preferences(language=cast("Language", self.language), theme=cast("Theme", self.theme))

    def contact(self) -> Contact:
        """Return how to write to them."""
        return Contact(email=self.email, name=self.name, language=cast("Language", self.language))


class Visit(NamedTuple):
    """A browser's session with its user."""

    id: str
    email: str
    name: str
    created_at: int
    roles: str
    language: str
    theme: str
    seen_at: int
    proved_at: int
    totp: int
    passkeys: int

    def visitor(self, *, admins_need_factor: bool) -> Visitor:
        """Return who that is."""
        row = Row(
            self.id, self.email, self.name, "", self.created_at, self.roles, totp=self.totp, passkeys=self.passkeys
        )
        allowed = withheld(row, admins_need_factor=admins_need_factor)
        liked = Preferred(self.email, self.name, self.language, self.theme).preferences()
        return Visitor(
            user=allowed.user(), preferences=liked, renew=browsers.due(self.seen_at),
            proved=browsers.proved(self.proved_at), needs_factor=allowed is not row,
        )  # fmt: skip


def withheld(row: Row, *, admins_need_factor: bool) -> Row:
    """Return the user without the role of an administrator, where that waits for a second factor."""
    if not admins_need_factor or row.has_factor or "admin" not in row.roles.split():
        return row
    return row._replace(roles=" ".join(each for each in row.roles.split() if each != "admin"))
