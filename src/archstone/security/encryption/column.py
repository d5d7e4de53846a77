"""Columns that are sealed: `Encrypted[str]` as a field of rows and models, and the column that seals and opens it.

    class Customer(NamedTuple):
        id: str
        phone: Encrypted[str]

    phone = SealedColumn(str, "customers", "phone")

    sealed = phone.seal("+44 20 7946 0000", row=id, ring=ring)
    await db.execute("INSERT INTO customers VALUES (:id, :phone)", id=id, phone=sealed)
    found = await db.one(Customer, "SELECT id, phone FROM customers WHERE id = :id", id=id)
    phone.open(found.phone, row=found.id, ring=ring)

An `Encrypted[str]` is the sealed bytes, with the type of what is in them: a row or a model that is logged, cached or
sent on shows nothing, and a value is in the clear only where somebody has opened it. In JSON it is base64.

The place is table, column and row, so a sealed value that is copied to another row does not open there. So a change of
a row's id, or of the names that a column was made with, needs opening and sealing anew.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from pydantic import GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from archstone.errors import ConfigError
from archstone.security.encryption.ring import SealRing, key_of

__all__ = ["Encrypted", "Reads", "SealedColumn", "place"]

T = TypeVar("T")
R = TypeVar("R")

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Reads(Protocol):
    """A `Database`, a snapshot or a transaction, as far as it is needed here."""

    async def all(self, row: type[R], sql: str, /, **params: object) -> list[R]:
        """Return the rows."""
        ...


class Encrypted(bytes, Generic[T]):
    """Sealed bytes of a `T`. A field of rows, dataclasses and pydantic models; a column is BLOB or bytea."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Encrypted({len(self)} bytes, key {key_of(self) or 'unknown'})"

    def __str__(self) -> str:
        return repr(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return how pydantic reads it: sealed bytes, or their base64 in JSON. A value in the clear is refused."""
        text = core_schema.no_info_after_validator_function(_from_text, core_schema.str_schema())
        binary = core_schema.no_info_after_validator_function(_checked, core_schema.bytes_schema(strict=True))
        return core_schema.json_or_python_schema(
            json_schema=text,
            python_schema=core_schema.union_schema([binary, text]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                _text, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )


def _from_text(text: str) -> "Encrypted[Any]":
    try:
        return _checked(base64.b64decode(text, validate=True))
    except ValueError:
        raise ValueError("not a sealed value in base64") from None


def _checked(sealed: bytes) -> "Encrypted[Any]":
    if not key_of(sealed):
        raise ValueError("not a sealed value")
    return Encrypted(sealed)


def _text(sealed: bytes) -> str:
    return base64.b64encode(sealed).decode("ascii")


def place(table: str, column: str, row: str) -> str:
    """Return the context of a value in a row: no other table, column and row have the same.

    Raises:
        ConfigError: The table or the column is no plain name.
    """
    faults = [name for name in (table, column) if not _NAME.fullmatch(name)]
    if faults:
        raise ConfigError(f"sealed column {table}.{column}: {', '.join(map(repr, faults))} must be a plain name")
    return f"{table}.{column}/{row}"


@dataclass(frozen=True, slots=True)
class SealedColumn(Generic[T]):
    """A column of a table whose values are sealed."""

    kind: type[T]
    """What a value is: anything that pydantic reads and writes as JSON."""
    table: str
    column: str
    _: KW_ONLY
    key: str = "id"
    """The column whose value names a row, as text: a primary key that never changes."""
    _encode: Callable[[T], bytes] = field(init=False, repr=False, compare=False)
    _decode: Callable[[bytes], T] = field(init=False, repr=False, compare=False)
    _context: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        context = place(self.table, self.column, "")
        place(self.table, self.key, "")
        adapter = TypeAdapter[T](self.kind)
        object.__setattr__(self, "_encode", adapter.serializer.to_json)
        object.__setattr__(self, "_decode", adapter.validator.validate_json)
        object.__setattr__(self, "_context", context)

    def seal(self, value: T, *, row: str, ring: SealRing) -> Encrypted[T]:
        """Return a value sealed for its row."""
        return Encrypted(ring.seal(self._encode(value), context=self._context + row))

    def open(self, sealed: bytes, *, row: str, ring: SealRing) -> T:
        """Return the value that was sealed for this row.

        Raises:
            BrokenSealError: It was changed, or is another row's.
            UnknownSealKeyError: Its key is not in the ring.
        """
        return self._decode(ring.open(sealed, context=self._context + row))

    async def keys_in(self, db: Reads) -> dict[str, int]:
        """Return how many rows were sealed under which key, by its name. It reads the whole table."""
        counted = await db.all(
            tuple[bytes, int],
            # sql: names that the column was declared with
            f"SELECT substr({self.column}, 1, 9) AS head, count(*) AS seals FROM {self.table}"
            f" WHERE {self.column} IS NOT NULL GROUP BY 1",
        )
        return {head[1:].hex(): seals for head, seals in counted}
