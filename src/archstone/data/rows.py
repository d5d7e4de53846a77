"""Rows of a result as typed objects, by a maker compiled once per (type, columns).

A scalar type takes the only column, a tuple type the columns by position, and a NamedTuple, dataclass or pydantic model
the columns by name: columns without a field are ignored, a field without a column needs a default. A field that is not
a scalar is decoded from JSON text. `dict` gives the columns as they are.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from archstone.data.errors import RowError

__all__ = ["Description", "RowMaker", "row_maker"]

T = TypeVar("T")

Description = Sequence[Sequence[Any]] | None
"""As DB-API has it: the first of each entry is the column's name. None when a statement gives no rows."""

Row = tuple[Any, ...]
RowMaker = Callable[[list[Row]], list[Any]]
Convert = Callable[[Any], Any]

SCALARS: Final = (int, str, float, bytes, bool)
_PLAIN: Final = frozenset({int, str, bytes, Any, object, type(None)})
CACHE_LIMIT: Final = 2048

_cache: dict[tuple[object, str], tuple[Description, RowMaker]] = {}


def row_maker(row: type[T], source: str, description: Description) -> Callable[[list[Row]], list[T]]:
    """Return the function that turns the rows of `source` into objects of type `row`.

    Raises:
        RowError: The columns do not fit the type.
    """
    found = _cache.get((row, source))
    # The description is compared because a migration may have changed what `SELECT *` gives.
    if found is not None and found[0] == description:
        return found[1]
    if len(_cache) >= CACHE_LIMIT:
        _cache.clear()
    columns = tuple(str(column[0]) for column in description or ())
    maker = _compile(row, columns)
    _cache[row, source] = (description, maker)
    return maker


def _compile(row: Any, columns: tuple[str, ...]) -> RowMaker:
    if not columns:
        raise RowError(_name(row), "the statement gives no rows; use execute()")
    if row in SCALARS:
        return _scalars(row, columns)
    if row is dict:
        return lambda rows: [dict(zip(columns, values, strict=True)) for values in rows]
    if row is tuple or get_origin(row) is tuple:
        return _tuples(row, columns)
    if isinstance(row, type) and issubclass(row, BaseModel):
        return _models(row, columns)
    fields = _fields(row)
    if fields is None:
        raise RowError(_name(row), "is no scalar, tuple, NamedTuple, dataclass, pydantic model or dict")
    return _records(row, columns, fields)


def _scalars(row: type, columns: tuple[str, ...]) -> RowMaker:
    if len(columns) != 1:
        raise RowError(row.__name__, f"wants one column, the statement gives {len(columns)}: {', '.join(columns)}")
    accepted = {bool: (int, bool), float: (float, int)}.get(row, (row,))

    def make(rows: list[Row]) -> list[Any]:
        values = [values[0] for values in rows]
        for value in values:
            if not isinstance(value, accepted):
                hint = "; use coalesce or tuple[... | None]" if value is None else ""
                raise RowError(row.__name__, f"column {columns[0]} holds {type(value).__name__}{hint}")
        return values if row in _PLAIN else [row(value) for value in values]

    return make


def _tuples(row: Any, columns: tuple[str, ...]) -> RowMaker:
    kinds = get_args(row)
    if not kinds:
        return list
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(columns)
    if len(kinds) != len(columns):
        raise RowError(_name(row), f"wants {len(kinds)} columns, the statement gives {len(columns)}")
    converts = [_converter(kind) for kind in kinds]
    if not any(converts):
        return list
    return lambda rows: [_converted(values, converts) for values in rows]


def _models(row: type[BaseModel], columns: tuple[str, ...]) -> RowMaker:
    hints = {name: field.annotation for name, field in row.model_fields.items()}
    required = {name for name, field in row.model_fields.items() if field.is_required()}
    _require(row, columns, required)
    wanted = [(index, name) for index, name in enumerate(columns) if name in hints]
    decoders = [(index, name, None if _scalar(hints[name]) else _converter(hints[name])) for index, name in wanted]

    def make_one(values: Row) -> BaseModel:
        return row.model_validate(
            {name: decode(values[index]) if decode else values[index] for index, name, decode in decoders}
        )

    return lambda rows: [make_one(values) for values in rows]


def _records(row: Any, columns: tuple[str, ...], fields: Mapping[str, tuple[Any, bool]]) -> RowMaker:
    _require(row, columns, {name for name, (_, has_default) in fields.items() if not has_default})
    wanted = [name for name in fields if name in columns]
    positional = wanted == list(fields)[: len(wanted)] and not _keyword_only(row)
    order = [columns.index(name) for name in wanted]
    pick: Convert | None = None if order == list(range(len(columns))) else _picker(order)
    converts = [_converter(fields[name][0]) for name in wanted]
    convert = converts if any(converts) else None

    def make_one(values: Row) -> Any:
        values = pick(values) if pick else values
        values = _converted(values, convert) if convert else values
        return row(*values) if positional else row(**dict(zip(wanted, values, strict=True)))

    if positional and pick is None and convert is None:
        return lambda rows: [row(*values) for values in rows]
    return lambda rows: [make_one(values) for values in rows]


def _picker(order: list[int]) -> Convert:
    if len(order) == 1:
        only = order[0]
        return lambda values: (values[only],)
    return itemgetter(*order) if order else lambda _: ()


def _converted(values: Row, converts: list[Convert | None]) -> Row:
    return tuple([convert(value) if convert else value for convert, value in zip(converts, values, strict=True)])


def _fields(row: Any) -> dict[str, tuple[Any, bool]] | None:
    """Return name -> (annotation, has a default) in the order of the constructor, or None for other types."""
    if dataclasses.is_dataclass(row):
        hints = typing.get_type_hints(row)
        return {
            field.name: (hints[field.name], not _no_default(field)) for field in dataclasses.fields(row) if field.init
        }
    names: tuple[str, ...] | None = getattr(row, "_fields", None)
    if names is None:
        return None
    hints = typing.get_type_hints(row)
    defaults: Mapping[str, object] = getattr(row, "_field_defaults", {})
    return {name: (hints.get(name, Any), name in defaults) for name in names}


def _no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _keyword_only(row: Any) -> bool:
    return dataclasses.is_dataclass(row) and any(field.kw_only for field in dataclasses.fields(row))


def _require(row: Any, columns: tuple[str, ...], required: set[str]) -> None:
    if missing := sorted(required - set(columns)):
        raise RowError(_name(row), f"no column for {', '.join(missing)}; the statement gives {', '.join(columns)}")


def _scalar(kind: Any) -> bool:
    kind = _bare(kind)
    return kind in _PLAIN or kind in SCALARS


def _bare(kind: Any) -> Any:
    """Return the scalar under `X | None`, NewType and Annotated, or `kind` itself."""
    while True:
        if hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif get_origin(kind) is typing.Annotated:
            kind = get_args(kind)[0]
        else:
            alternatives = [part for part in get_args(kind) if part is not type(None)]
            if type(None) not in get_args(kind) or len(alternatives) != 1:
                return kind
            kind = alternatives[0]


def _converter(kind: Any) -> Convert | None:
    """Return what turns a column's value into `kind`, or None where it is already right."""
    bare = _bare(kind)
    if bare in _PLAIN:
        return None
    made = get_origin(bare) or bare
    if bare in {bool, float} or (isinstance(made, type) and issubclass(made, bytes)):  # such as Encrypted[str]
        return lambda value: None if value is None else made(value)
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    if isinstance(bare, type) and not _nested(cast("type[Any]", bare)):
        return adapter.validate_python  # an Enum, a date, a UUID: kept as text or a number

    def decode(value: Any) -> Any:
        return adapter.validate_json(value) if isinstance(value, str | bytes) else adapter.validate_python(value)

    return decode


def _nested(cls: type[Any]) -> bool:
    return issubclass(cls, tuple | frozenset | list | dict | set | BaseModel) or dataclasses.is_dataclass(cls)


def _name(row: Any) -> str:
    return row.__name__ if isinstance(row, type) and get_origin(row) is None else str(row)
