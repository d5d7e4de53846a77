"""Which new passwords are refused: those that are guessed first. What they are made of is not prescribed."""

from typing import Final

from archstone.systems.shop.users.contract import WeakPasswordError

__all__ = ["check_password"]

FEWEST: Final = 4
"""Different characters in a password."""
_GUESSED_FIRST: Final = frozenset(
    {
        "password", "password1", "password12", "password123", "password1234", "passw0rd", "12345678", "123456789",
        "1234567890", "0123456789", "87654321", "11111111", "qwertyui", "qwertyuiop", "qwerty123", "qwerty1234",
        "1q2w3e4r", "1qaz2wsx", "iloveyou", "sunshine", "princess", "football", "baseball", "superman", "trustno1",
        "abcdefgh", "abcdefghij", "abcd1234", "changeme", "letmein1", "welcome1", "welcome123", "administrator",
    }
)  # fmt: skip
"""The head of every list of stolen passwords, as far as it is long enough."""


def check_password(password: str, email: str) -> None:
    """Refuse what would be guessed first.

    Raises:
        WeakPasswordError: with the reason.
    """
    low = password.lower()
    if len(set(low)) < FEWEST:
        raise WeakPasswordError("repeats a few characters")
    if low in _GUESSED_FIRST:
        raise WeakPasswordError("is on every list of stolen passwords")
    if low in {email, email.partition("@")[0]}:
        raise WeakPasswordError("is the e-mail address")
