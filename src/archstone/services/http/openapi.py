"""The OpenAPI 3.1 document of a set of operations, from the same compiled types that serve them.

Promise: every status and content type that an operation can answer is listed, and what it refuses the schemas refuse.
Of the docstrings of contracts, operations and types the first paragraph is public; what follows is for those who read
the code, and is not shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from inspect import getdoc
from typing import Any, Final, cast

from archstone.errors import DomainError
from archstone.services.http.problems import TYPE_PREFIX, title_of
from archstone.services.http.schemas import Schemas, public_text
from archstone.services.operation import ANYONE, SIGNED_IN, Operation
from archstone.services.parameters import Parameter

__all__ = ["openapi"]

_Json = dict[str, Any]

_PROBLEM: Final[_Json] = {
    "type": "object",
    "description": "RFC 9457 problem document.",
    "properties": {
        "type": {"type": "string", "description": "Stable: urn:archstone:error:<code>."},
        "title": {"type": "string", "description": "The same for each occurrence."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "This occurrence, for people."},
        "instance": {"type": "string", "description": "Id of the request."},
        "retry_after_s": {"type": "number", "description": "Seconds after which a retry makes sense."},
        "errors": {
            "type": "array",
            "description": "Every fault of a refused request.",
            "items": {
                "type": "object",
                "properties": {"where": {"type": "string"}, "what": {"type": "string"}},
                "required": ["where", "what"],
            },
        },
        "args": {"type": "object", "description": "The facts of a declared error."},
    },
    "required": ["type", "title", "status", "instance"],
}
_KEY: Final[_Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A new random key for each new command; the same key when the command is tried again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_ALWAYS: Final = (400, 401, 429, 431, 500, 503, 504)
_OF_COMMANDS: Final = (408, 409, 413, 415, 422)
_NO_CONTENT: Final = 204


def openapi(operations: Sequence[Operation], *, prefix: str, title: str, version: str, strict: bool) -> _Json:
    """Return the document.

    Args:
        operations: In the order in which they are shown.
        prefix: What stands before their paths.
        title: Of the document.
        version: Of the document.
        strict: Unknown fields are refused, and the schemas say so.
    """
    schemas = Schemas(operations, strict=strict)
    paths: dict[str, _Json] = {}
    for operation in operations:
        paths.setdefault(prefix + operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "tags": list(_tags(operations)),
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM, **_declared(operations, schemas), **schemas.definitions},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _tags(operations: Iterable[Operation]) -> Iterable[_Json]:
    contracts = {operation.contract_name: operation.contract for operation in operations}
    for name, contract in contracts.items():
        yield {"name": name, "description": public_text(getdoc(contract) or "")}


def _operation(operation: Operation, schemas: Schemas) -> _Json:
    outside = [each for each in operation.parameters if each.where != "body"]
    described: _Json = {
        "operationId": operation.full_name,
        "tags": [operation.contract_name],
        "summary": operation.summary or operation.name,
        "description": public_text(operation.docstring),
        "parameters": [_parameter(operation, each, schemas) for each in outside],
        "responses": {str(status): answer for status, answer in sorted(_responses(operation, schemas).items())},
    }
    if operation.kind == "command":
        described["parameters"].append({**_KEY, "required": operation.key_required})
    if inside := [each for each in operation.parameters if each.where == "body"]:
        # Where every field has a default, no body means the same as an empty object.
        required = any(each.required for each in inside)
        described["requestBody"] = {"required": required, "content": _json(schemas.body(operation))}
    if operation.requires != ANYONE:
        described["security"] = [{"bearer": []}]
    return described


def _parameter(operation: Operation, parameter: Parameter, schemas: Schemas) -> _Json:
    described: _Json = {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "schema": schemas.text(operation, parameter),
    }
    if parameter.repeated:
        described |= {"style": "form", "explode": True}
    return described


def _responses(operation: Operation, schemas: Schemas) -> dict[int, _Json]:
    answers = {status: _problem_answer(status, ()) for status in _statuses(operation)}
    declared: dict[int, list[type[DomainError]]] = {}
    for error in operation.raises:
        declared.setdefault(error.status, []).append(error)
    for status, errors in declared.items():
        answers[status] = _problem_answer(status, errors, alone=status not in answers)
    success: _Json = {"description": HTTPStatus(operation.status).phrase}
    if operation.status != _NO_CONTENT:
        success["content"] = _json(schemas.result(operation))
    return {**answers, operation.status: success}


def _statuses(operation: Operation) -> Iterable[int]:
    """Say which statuses can come without being declared."""
    yield from _ALWAYS
    if operation.requires not in (ANYONE, SIGNED_IN):
        yield 403
    if any(each.where == "path" for each in operation.parameters):
        yield 404
    if operation.kind == "command":
        yield from _OF_COMMANDS


def _problem_answer(status: int, errors: Sequence[type[DomainError]], *, alone: bool = False) -> _Json:
    kinds = [_ref(error.code) for error in errors]
    if not alone or not kinds:
        kinds.append(_ref("Problem"))
    answer: _Json = {
        "description": "; ".join(title_of(error) for error in errors) or HTTPStatus(status).phrase,
        "content": {"application/problem+json": {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}},
    }
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return answer


def _declared(operations: Iterable[Operation], schemas: Schemas) -> Mapping[str, _Json]:
    """Return the schema of each declared error, by code."""
    found: dict[str, _Json] = {}
    for operation in operations:
        for code, codec in operation.codec.errors.items():
            members: _Json = {"type": {"const": TYPE_PREFIX + code}}
            required = ["type"]
            if codec.fields:
                members["args"] = schemas.error(operation, code)
                required.append("args")
            specific = {"type": "object", "properties": members, "required": required}
            found[code] = {"description": title_of(codec.error), "allOf": [_ref("Problem"), specific]}
    return found


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: _Json) -> _Json:
    return cast("_Json", {"application/json": {"schema": schema}})
