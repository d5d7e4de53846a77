"""From a marked method to an `Operation`: annotations resolved, types checked, codecs built."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import Parameter as Argument
from typing import Any, Final, Literal, get_args, get_type_hints

from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from archstone.data import mutable_parts
from archstone.errors import ConfigError, DomainError
from archstone.services.codec import ArgumentCodec, ResultCodec
from archstone.services.error_codec import ErrorCodec, error_codec
from archstone.services.operation import SIGNED_IN, UNDECLARED, Codec, Operation
from archstone.services.parameters import Parameter, adapter_of, is_sequence

__all__ = ["MARK", "Marked", "compile_operation"]

MARK: Final = "__archstone_operation__"
"""Attribute of a contract's method that holds what its decorator said."""
_PATH: Final = re.compile(r"(/([A-Za-z0-9_.~-]+|\{[a-z_][a-z0-9_]*\}))+|/")
_HOLE: Final = re.compile(r"\{(\w+)\}")
_KINDS: Final = (Argument.POSITIONAL_OR_KEYWORD, Argument.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What `@query` or `@command` said about a method."""

    kind: Literal["query", "command"]
    method: str
    path: str
    public: bool
    requires: str | None
    raises: tuple[type[DomainError], ...]
    status: int
    summary: str | None
    record: bool
    key_required: bool


def compile_operation(
    contract: type, version: str, function: Callable[..., Any], faults: list[str]
) -> Operation | None:
    """Return the operation of one marked method, or None after adding what is wrong with it to `faults`."""
    full_name = f"{contract.__name__}.{function.__name__}"
    mark: Marked = getattr(function, MARK)
    before = len(faults)
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        faults.append(f"{full_name}: annotation cannot be resolved: {error}")
        return None
    faults += _mark_faults(full_name, mark)
    parameters = _parameters(full_name, function, mark=mark, hints=hints, faults=faults)
    if "return" not in hints:
        faults.append(f"{full_name}: says not what it returns: annotate it, -> None if nothing")
    else:
        faults += mutable_parts(hints["return"], f"{full_name}, result")
    errors = _error_codecs(full_name, mark.raises, faults)
    if len(faults) > before:
        return None
    codec = Codec(
        ArgumentCodec(full_name, mark.path, parameters),
        ResultCodec(full_name, hints["return"]),
        errors,
        hints["return"],
    )
    docstring = inspect.getdoc(function) or ""
    return Operation(
        contract=contract, contract_name=contract.__name__, version=version, name=function.__name__, kind=mark.kind,
        method=mark.method, path=mark.path, public=mark.public, requires=_required(mark), raises=mark.raises,
        status=mark.status, record=mark.record, key_required=mark.key_required,
        summary=mark.summary or docstring.partition("\n")[0] or None, docstring=docstring, parameters=parameters,
        function=function, codec=codec, full_name=full_name,
    )  # fmt: skip


def _mark_faults(full_name: str, mark: Marked) -> Iterable[str]:
    if not _PATH.fullmatch(mark.path):
        yield f"{full_name}: path {mark.path!r} is none: write it as /stock/{{sku}}"
    if not 200 <= mark.status <= 299:
        yield f"{full_name}: status {mark.status} does not say success: take one from 200 to 299"
    if mark.requires == UNDECLARED:
        yield f"{full_name}: requires nobody: say ANYONE, SIGNED_IN, a permission or a role"


def _required(mark: Marked) -> str:
    if mark.requires is not None:
        return mark.requires
    return UNDECLARED if mark.public else SIGNED_IN


def _parameters(
    full_name: str, function: Callable[..., Any], *, mark: Marked, hints: Mapping[str, Any], faults: list[str]
) -> tuple[Parameter, ...]:
    made: list[Parameter] = []
    holes = _HOLE.findall(mark.path)
    arguments = list(inspect.signature(function).parameters.values())[1:]
    names = {argument.name for argument in arguments}
    faults += [f"{full_name}: the path names {hole}, which is no argument" for hole in holes if hole not in names]
    for argument in arguments:
        where = f"{full_name}, argument {argument.name}"
        if argument.kind not in _KINDS:
            faults.append(f"{where}: cannot be named on the wire: take it by name, one each")
        elif argument.name not in hints:
            faults.append(f"{where}: has no type: annotate it")
        elif found := [*mutable_parts(hints[argument.name], where), *_text_faults(argument, hints, mark, where)]:
            faults += found
        else:
            made += _made(argument, hints[argument.name], _where(argument.name, mark), faults)
    return tuple(made)


def _where(name: str, mark: Marked) -> Literal["path", "query", "body"]:
    if f"{{{name}}}" in mark.path:
        return "path"
    return "query" if mark.kind == "query" else "body"


def _text_faults(argument: Argument, hints: Mapping[str, Any], mark: Marked, where: str) -> Iterable[str]:
    """Say what keeps an argument of a path or a query string from being written as text."""
    place = _where(argument.name, mark)
    hint = hints[argument.name]
    if place == "path" and (
        is_sequence(hint) or type(None) in get_args(hint) or argument.default is not Argument.empty
    ):
        yield f"{where}: stands in the path, so it is one value that is always given"
    optional = type(None) in get_args(hint)
    if place == "query" and optional and argument.default is not None:
        yield f"{where}: None cannot be written in a query string: make it the default"


def _made(
    argument: Argument, hint: object, where: Literal["path", "query", "body"], faults: list[str]
) -> Iterable[Parameter]:
    required = argument.default is Argument.empty
    try:
        adapter = adapter_of(hint)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        faults.append(f"argument {argument.name}: {error}")
        return ()
    default = None if required else argument.default
    return (Parameter(argument.name, hint, where, required, default, adapter),)


def _error_codecs(full_name: str, raises: tuple[type[DomainError], ...], faults: list[str]) -> dict[str, ErrorCodec]:
    codecs: dict[str, ErrorCodec] = {}
    for error in raises:
        if error.code == DomainError.code:
            faults.append(f"{full_name}: raises {error.__name__}, which has no code of its own")
        elif error.code in codecs:
            faults.append(f"{full_name}: raises two errors with the code {error.code!r}")
        else:
            try:
                codecs[error.code] = error_codec(error)
            except ConfigError as fault:
                faults.append(f"{full_name}: {fault}")
    return codecs
