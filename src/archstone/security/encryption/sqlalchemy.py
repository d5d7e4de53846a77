"""Sealed columns of SQLAlchemy models: in the clear in the program, sealed in the database.

    class User(Base):
        __tablename__ = "users"
        id: Mapped[str] = mapped_column(primary_key=True)
        ssn: Mapped[str | None] = mapped_column(SealedText("users.ssn", lambda: ring))

A type of SQLAlchemy is told the value and not the row it stands in. So the place is the column alone: a value that is
copied to another column does not open, but one that is copied to another row of the same column does. Where that must
not be, keep a `LargeBinary` column and seal it in a property with `SealedColumn`, whose place has the row:

    phones = SealedColumn(str, "users", "phone")

    class User(Base):
        _phone: Mapped[bytes | None] = mapped_column("phone", LargeBinary)

        @property
        def phone(self) -> str | None:
            return None if self._phone is None else phones.open(self._phone, row=self.id, ring=ring)

Neither can be compared or sorted in SQL: each sealing gives other bytes. `BlindIndex` finds by equality.

Needs `archstone[security,sqlalchemy]`.
"""

from collections.abc import Callable
from typing import Any

from archstone.errors import ConfigError
from archstone.security.encryption.ring import SealRing

try:
    from sqlalchemy import Dialect, LargeBinary
    from sqlalchemy.sql import operators
    from sqlalchemy.sql.operators import OperatorType
    from sqlalchemy.types import TypeDecorator, TypeEngine
except ImportError as error:
    message = "archstone.security.encryption.sqlalchemy needs SQLAlchemy 2: pip install 'archstone[sqlalchemy]'"
    raise ConfigError(message) from error

__all__ = ["SealedText"]


class SealedText(TypeDecorator[str]):
    """A text that is sealed for its column. None stays NULL."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, context: str, ring: Callable[[], SealRing]) -> None:
        """Take the place and the keys.

        Args:
            context: Names the column, such as `users.ssn`; never changed afterwards.
            ring: Returns the ring of the moment, so that a rotation is seen. It must not wait: keep the ring of
                `DataKeys.ring`, and renew it in the background.
        """
        super().__init__()
        self.context = context
        self.ring = ring

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """Seal what is written."""
        return None if value is None else self.ring().seal(value.encode(), context=self.context)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:
        """Open what is read.

        Raises:
            BrokenSealError: It was changed, or sealed for another column.
        """
        return None if value is None else self.ring().open(bytes(value), context=self.context).decode()

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> TypeEngine[Any]:
        """Refuse comparisons that could never be true.

        Raises:
            ConfigError: Anything but `is_(None)`.
        """
        if op in {operators.is_, operators.is_not}:
            return self
        message = f"sealed column {self.context}: each sealing gives other bytes, compare a BlindIndex mark instead"
        raise ConfigError(message)
