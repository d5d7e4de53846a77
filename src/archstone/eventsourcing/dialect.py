"""Which database it is, where a statement differs."""

from archstone.data import Database

__all__ = ["dialect_of"]


def dialect_of(db: Database) -> str:
    """Return `sqlite` or `postgresql`."""
    return getattr(db, "dialect", "sqlite")
