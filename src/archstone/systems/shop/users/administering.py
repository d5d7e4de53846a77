"""What administrators do to accounts, each change with a trace, and always one of them left."""

from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

from archstone import world
from archstone.data import Database
from archstone.services import Tx
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.users.contract import Change, LastAdminError, Role, UserChange, UserChanges

__all__ = ["add_role", "changes_of", "keep_one_admin", "remove_role", "set_active"]

_OTHER_ADMINS: Final = (
    "SELECT count(*) FROM roles r JOIN users u ON u.id = r.user_id"
    " WHERE r.role = 'admin' AND u.active = 1 AND r.user_id <> :user_id"
)
_IS_ADMIN: Final = (
    "SELECT count(*) FROM roles r JOIN users u ON u.id = r.user_id"
    " WHERE r.role = 'admin' AND u.active = 1 AND r.user_id = :user_id"
)
_WRITE_DOWN: Final = (
    "INSERT INTO user_changes (user_id, what, role, reason, by, at) VALUES (:user_id, :what, :role, :reason, :by, :at)"
)
_CHANGES: Final = (
    "SELECT number, user_id, what, role, reason, by, at FROM user_changes"
    " WHERE user_id = :user_id AND number < :before ORDER BY number DESC LIMIT :limit"
)


class _Row(NamedTuple):
    number: int
    user_id: str
    what: str
    role: str
    reason: str
    by: str
    at: int

    def change(self) -> UserChange:
        return UserChange(
            number=self.number, user_id=self.user_id, what=cast("Change", self.what),
            role=cast("Role", self.role) if self.role else None, reason=self.reason or None, by=self.by,
            at=datetime.fromtimestamp(self.at / 1_000_000, UTC),
        )  # fmt: skip


async def keep_one_admin(tx: Tx, user_id: str) -> None:
    """Refuse to go on where the shop would be left without an administrator who can sign in.

    Raises:
        LastAdminError: the user is the last one.
    """
    if await tx.one(int, _IS_ADMIN, user_id=user_id) and not await tx.one(int, _OTHER_ADMINS, user_id=user_id):
        raise LastAdminError


async def add_role(tx: Tx, user_id: str, role: Role, *, by: str) -> None:
    """Give a role to who does not have it."""
    at = world.now_us()
    added = await tx.execute(
        "INSERT INTO roles (user_id, role, granted_at) VALUES (:id, :role, :at) ON CONFLICT DO NOTHING",
        id=user_id, role=role, at=at,
    )  # fmt: skip
    if added:
        await tx.execute(_WRITE_DOWN, user_id=user_id, what="granted", role=role, reason="", by=by, at=at)


async def remove_role(tx: Tx, user_id: str, role: Role, *, by: str) -> None:
    """Take a role from who has it.

    Raises:
        LastAdminError: it is the last administrator's.
    """
    if role == "admin":
        await keep_one_admin(tx, user_id)
    removed = await tx.execute("DELETE FROM roles WHERE user_id = :id AND role = :role", id=user_id, role=role)
    if removed:
        await tx.execute(_WRITE_DOWN, user_id=user_id, what="withdrawn", role=role, reason="", by=by, at=world.now_us())


async def set_active(tx: Tx, user_id: str, *, active: bool, by: str, reason: str = "") -> None:
    """Open or close an account that is not in that state.

    Raises:
        LastAdminError: it is the last administrator's.
    """
    if not active:
        await keep_one_admin(tx, user_id)
    changed = await tx.execute(
        "UPDATE users SET active = :active WHERE id = :id AND active <> :active", id=user_id, active=int(active)
    )
    if changed:
        what = "reactivated" if active else "deactivated"
        await tx.execute(_WRITE_DOWN, user_id=user_id, what=what, role="", reason=reason, by=by, at=world.now_us())


async def changes_of(db: Database, user_id: str, *, limit: int, cursor: str | None) -> UserChanges:
    """Return a page of what was changed of an account, newest first."""
    question = f"user-changes|{user_id}"
    (before,) = (2**62,) if cursor is None else decode_cursor(question, cursor, like=(0,))
    rows = await db.all(_Row, _CHANGES, user_id=user_id, before=before, limit=limit + 1)
    page = rows[:limit]
    return UserChanges(
        items=tuple(row.change() for row in page),
        next_cursor=encode_cursor(question, (page[-1].number,)) if len(rows) > limit else None,
    )
