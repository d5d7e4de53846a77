"""JSON schemas of what operations take and give, generated together so that each type is defined once."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Final, Literal, cast

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, to_jsonable_python

from archstone.services.operation import Operation
from archstone.services.parameters import Parameter, adapter_of

__all__ = ["Schemas", "public_text"]

_Json = dict[str, Any]
_Key = tuple[str, ...]
_Mode = Literal["validation", "serialization"]
_TEMPLATE: Final = "#/components/schemas/{model}"


def public_text(docstring: str) -> str:
    """Return the first paragraph of a docstring: what of it is public."""
    return docstring.partition("\n\n")[0]


class Schemas:
    """The schemas of some operations, and the definitions that they share."""

    def __init__(self, operations: Sequence[Operation], *, strict: bool) -> None:
        wanted: list[tuple[_Key, _Mode, CoreSchema]] = []
        for operation in operations:
            wanted += _of(operation)
        generator = GenerateJsonSchema(by_alias=True, ref_template=_TEMPLATE)
        found, definitions = generator.generate_definitions(cast("Any", wanted))
        self._schemas = cast("dict[tuple[_Key, _Mode], _Json]", found)
        self.definitions = cast("dict[str, _Json]", definitions)
        for each in self.definitions.values():
            if "description" in each:
                each["description"] = public_text(each["description"])
        self._strict = strict
        if strict:
            _close(self.definitions)

    def body(self, operation: Operation) -> _Json:
        """Return the schema of the object that the body holds."""
        inside = [each for each in operation.parameters if each.where == "body"]
        schema: _Json = {
            "type": "object",
            "properties": {each.name: self._argument(operation, each) for each in inside},
            "required": [each.name for each in inside if each.required],
        }
        if self._strict:
            _close(schema)
        return schema

    def text(self, operation: Operation, parameter: Parameter) -> _Json:
        """Return the schema of an argument of the path or of the query string, where null cannot be written."""
        schema = self._argument(operation, parameter)
        if "anyOf" in schema:
            kinds = [kind for kind in cast("list[_Json]", schema["anyOf"]) if kind.get("type") != "null"]
            rest = {name: value for name, value in schema.items() if name != "anyOf"}
            schema = {**rest, **kinds[0]} if len(kinds) == 1 else {**rest, "anyOf": kinds}
        if parameter.where == "path" and schema.get("type") == "string":
            schema.setdefault("minLength", 1)
        return schema

    def result(self, operation: Operation) -> _Json:
        """Return the schema of the result."""
        return self._schemas[("result", operation.full_name), "serialization"]

    def error(self, operation: Operation, code: str) -> _Json:
        """Return the schema of the arguments of a declared error, by name."""
        names = [name for name, _ in operation.codec.errors[code].fields]
        found = {name: self._schemas[("error", code, name), "serialization"] for name in names}
        return {"type": "object", "properties": found, "required": names}

    def _argument(self, operation: Operation, parameter: Parameter) -> _Json:
        schema = deepcopy(self._schemas[("argument", operation.full_name, parameter.name), "validation"])
        if not parameter.required and parameter.default is not None:
            schema["default"] = to_jsonable_python(parameter.default)
        return schema


def _of(operation: Operation) -> list[tuple[_Key, _Mode, CoreSchema]]:
    name = operation.full_name
    wanted: list[tuple[_Key, _Mode, CoreSchema]] = [
        (("argument", name, each.name), "validation", each.adapter.core_schema) for each in operation.parameters
    ]
    wanted.append((("result", name), "serialization", operation.codec.result.adapter.core_schema))
    for code, codec in operation.codec.errors.items():
        for field, annotation in codec.fields:
            wanted.append((("error", code, field), "serialization", adapter_of(annotation).core_schema))
    return wanted


def _close(schema: object) -> None:
    """Say of every object with named properties that it has no others."""
    _walk(schema, lambda each: each.setdefault("additionalProperties", False) if "properties" in each else None)


def _walk(schema: object, visit: Callable[[_Json], object]) -> None:
    if isinstance(schema, dict):
        node = cast("_Json", schema)
        if node.get("type") == "object":
            visit(node)
        for part in node.values():
            _walk(part, visit)
    elif isinstance(schema, list):
        for part in cast("list[object]", schema):
            _walk(part, visit)
