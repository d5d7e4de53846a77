"""Keys and tags from templates: `"user:{user_id}:orders"` with the arguments of a call.

Values are escaped, so that no two calls share a key by accident: with `"{a}:{b}"` the pairs ("1:2", "3") and
("1", "2:3") would. In text `%`, `:`, `{`, `}` and blanks become `%` and two hex digits; ids of letters, digits, `-`,
`_`, `.` stay as they are, so a plain f-string gives the same key. `key_of` escapes by hand.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias
from uuid import UUID

from archstone.cache.errors import KeyTemplateError, UncacheableError

__all__ = ["KeyMaker", "compile_key", "key_of", "only_field"]

KeyMaker: TypeAlias = Callable[[tuple[Any, ...], Mapping[str, Any]], str]
"""Makes a key from the arguments of a call."""

_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_UNSAFE: Final = re.compile(r"[%:{}\s]")
_PLAIN: Final = (bool, float, Decimal, UUID, date, datetime)


def key_of(template: str, /, **fields: Any) -> str:
    """Return `template` filled with `fields`, escaped as the decorator does it: for keys and tags by hand.

    Raises:
        KeyTemplateError: A field is missing.
        UncacheableError: A value has no stable text.
    """

    def fill(found: re.Match[str]) -> str:
        if found[1] not in fields:
            raise KeyTemplateError(template, f"there is no value for {{{found[1]}}}")
        return _text(fields[found[1]])

    return _FIELD.sub(fill, template)


def compile_key(template: str, function: Callable[..., object]) -> KeyMaker:
    """Return what makes the key of a call of `function`.

    Raises:
        KeyTemplateError: The template names no parameter of the function, or a collecting one (`*args`).
    """
    names = _FIELD.findall(template)
    parameters = inspect.signature(function).parameters
    order = list(parameters)
    for name in names:
        _check(template, name, parameters)
    if not names:
        return lambda _args, _named: template
    if len(names) == 1:
        before, after = _FIELD.split(template)[::2]
        return _one(before, names[0], after, order.index(names[0]), parameters[names[0]].default)
    return _several(template, [(name, order.index(name), parameters[name].default) for name in names])


def only_field(template: str) -> tuple[str, str, str] | None:
    """Return, where a template has one field, the text before it, its name, and the text after.

    For hot paths: a text of letters and digits needs no escape and no call.
    """
    before, *rest = _FIELD.split(template)
    return (before, rest[0], rest[1]) if len(rest) == 2 else None


def _check(template: str, name: str, parameters: Mapping[str, inspect.Parameter]) -> None:
    found = parameters.get(name)
    if found is None:
        raise KeyTemplateError(template, f"{{{name}}} is no parameter of the function: {', '.join(parameters)}")
    if found.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        raise KeyTemplateError(template, f"{{{name}}} collects several arguments; name them one by one")


def _one(before: str, name: str, after: str, place: int, default: Any) -> KeyMaker:
    def make(args: tuple[Any, ...], named: Mapping[str, Any]) -> str:
        value = args[place] if len(args) > place else named.get(name, default)
        if type(value) is str and value.isalnum():
            return f"{before}{value}{after}"
        return f"{before}{value if type(value) is int else _text(value)}{after}"

    return make


def _several(template: str, fields: list[tuple[str, int, Any]]) -> KeyMaker:
    literals = _FIELD.split(template)[::2]

    def make(args: tuple[Any, ...], named: Mapping[str, Any]) -> str:
        parts = [literals[0]]
        for (name, place, default), after in zip(fields, literals[1:], strict=True):
            parts += _text(args[place] if len(args) > place else named.get(name, default)), after
        return "".join(parts)

    return make


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return _UNSAFE.sub(_escaped, value)
    if type(value) is int:
        return str(value)
    if value is None:
        return "%none"  # no text comes out like this
    if isinstance(value, _PLAIN):
        return _UNSAFE.sub(_escaped, str(value))
    if value is inspect.Parameter.empty:
        raise UncacheableError("a key", "an argument that it names is missing from the call")
    fault = "has no stable text: use text, a whole number, bool, Enum, UUID, Decimal, date, or None"
    raise UncacheableError(f"a key from a value of type {type(value).__name__}", fault)


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02x}" for byte in found[0].encode())
