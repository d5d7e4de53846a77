"""Deleting an account: what is known of a person is erased, and an id without one stays for the orders that name it."""

from typing import Final

from archstone import world
from archstone.services import Tx
from archstone.systems.shop.users.administering import keep_one_admin
from archstone.systems.shop.users.events import AccountDeleted

__all__ = ["erase"]

# The id takes the place of the address: nobody can type it as one, and no two are the same.
_ERASE: Final = (
    "UPDATE users SET email = id, name = '', password_hash = '', language = 'en', theme = 'auto', active = 0,"
    " deleted_at = :at WHERE id = :id AND password_hash = :checked AND deleted_at IS NULL"
)

_FORGET: Final = (
    "DELETE FROM roles WHERE user_id = :id",
    "DELETE FROM totp_factors WHERE user_id = :id",
    "DELETE FROM backup_codes WHERE user_id = :id",
    "DELETE FROM passkeys WHERE user_id = :id",
    "DELETE FROM known_places WHERE user_id = :id",
    "DELETE FROM former_addresses WHERE user_id = :id",
)


async def erase(tx: Tx, user_id: str, *, email: str, checked: str) -> bool:
    """Erase what is known of a user, and say so. Sessions are the caller's to end.

    Args:
        tx: The transaction.
        user_id: Who.
        email: The address that is erased.
        checked: The hash that the password was checked against. False is returned if it is another by now.

    Raises:
        LastAdminError: the user is the last administrator.
    """
    await keep_one_admin(tx, user_id)
    at = world.now()
    if not await tx.execute(_ERASE, id=user_id, checked=checked, at=world.now_us()):
        return False
    for statement in _FORGET:
        await tx.execute(statement, id=user_id)
    # Why an administrator has closed or opened the account is about the person, too.
    await tx.execute("UPDATE user_changes SET reason = '' WHERE user_id = :id", id=user_id)
    tx.publish(AccountDeleted(user_id=user_id, email=email, at=at))
    return True
