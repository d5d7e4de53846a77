"""A committed snapshot of contracts and events, and what a change to them breaks, and for whom.

    def test_nothing_breaks_those_who_call_us() -> None:
        check_contracts(shop)

Callers of the last release and events on their way must be understood by this one, since upgrades roll. The snapshot
is a file in version control: `write_contracts(system)` renews it, and its difference is read in review.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from archstone.data import Event
from archstone.errors import ConfigError
from archstone.services.operation import ANYONE, Operation
from archstone.services.parameters import adapter_of
from archstone.services.schema_changes import changes
from archstone.services.system import System

__all__ = ["check_contracts", "contracts_snapshot", "differences", "write_contracts"]

_FORMAT: Final = 1


def contracts_snapshot(system: System) -> dict[str, Any]:
    """Return what a system promises, as data: operations with their types, and events."""
    return {
        "format": _FORMAT,
        "system": system.name,
        "operations": {operation.full_name: _operation(operation) for operation in system.operations},
        "events": {f"{event.event_name} v{event.event_version}": _event(event) for event in system.events},
    }


def check_contracts(system: System) -> None:
    """Compare a system with its committed snapshot.

    Raises:
        ConfigError: Something breaks, or the snapshot is out of date; the text says what, for whom, and what to do.
    """
    path = _path(system)
    now = contracts_snapshot(system)
    if not path.exists():
        raise ConfigError(f"system {system.name!r}: no snapshot at {path}: write it with write_contracts(system)")
    kept = json.loads(path.read_text())
    broken = differences(kept, now)
    if broken:
        told = "\n".join(f"- {each}" for each in broken)
        raise ConfigError(f"system {system.name!r}: what changed breaks others:\n{told}")
    if kept != json.loads(json.dumps(now)):
        raise ConfigError(
            f"system {system.name!r}: its contracts changed, compatibly: renew {path} with write_contracts(system)"
        )


def write_contracts(system: System) -> Path:
    """Write the snapshot of `system` to its file and return the path."""
    path = _path(system)
    path.write_text(json.dumps(contracts_snapshot(system), indent=1, sort_keys=True) + "\n")
    return path


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return what the change from one snapshot to another breaks, one sentence each; empty if all go on working."""
    return [*_operation_differences(old["operations"], new["operations"]), *_event_differences(old, new)]


def _operation_differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            yield f"{name} is gone: its callers fail"
            continue
        for what in ("kind", "method", "path"):
            if before[what] != after[what]:
                yield f"{name}: {what} changed from {before[what]} to {after[what]}: its callers do not find it"
        yield from _access_differences(name, before, after)
        yield from _type_differences(name, before, after)


def _access_differences(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    if before["public"] and not after["public"]:
        yield f"{name} is no longer public: callers through the gateway do not find it"
    if before["requires"] != after["requires"] and after["requires"] != ANYONE:
        yield f"{name}: requires {after['requires']} instead of {before['requires']}: some callers are refused"
    if after["key_required"] and not before["key_required"]:
        yield f"{name}: needs an idempotency key now: callers without one are refused"
    if before["status"] != after["status"]:
        yield f"{name}: answers status {after['status']} instead of {before['status']}: HTTP callers may misread it"


def _type_differences(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for change in changes(before["arguments"], after["arguments"], written_by_other_side=True):
        yield f"{name}, arguments: {change}: callers of the last release are refused"
    for change in changes(before["result"], after["result"], written_by_other_side=False):
        yield f"{name}, result: {change}: callers of the last release misread it"
    for code, fields in before["raises"].items():
        if code not in after["raises"]:
            yield f"{name}: {code} is no longer declared: callers that handle it see something else"
            continue
        for change in changes(fields, after["raises"][code], written_by_other_side=False):
            yield f"{name}, error {code}: {change}: callers of the last release misread it"


def _event_differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for name, before in old["events"].items():
        after = new["events"].get(name)
        if after is None:
            yield f"event {name} is gone: what is on its way cannot be read; keep the class until it has arrived"
            continue
        if before["key"] != after["key"]:
            yield f"event {name}: key changed from {before['key']} to {after['key']}: order is lost across the upgrade"
        for change in changes(before["fields"], after["fields"], written_by_other_side=True):
            yield f"event {name}: {change}: what the last release has sent cannot be read; make a new version"
        for change in changes(before["fields"], after["fields"], written_by_other_side=False):
            yield f"event {name}: {change}: handlers of the last release cannot read it; make a new version"


def _operation(operation: Operation) -> dict[str, Any]:
    required = [each.name for each in operation.parameters if each.required]
    schemas = {each.name: each.adapter.json_schema(mode="validation") for each in operation.parameters}
    return {
        "version": operation.version,
        "kind": operation.kind,
        "method": operation.method,
        "path": operation.path,
        "public": operation.public,
        "requires": operation.requires,
        "status": operation.status,
        "key_required": operation.key_required,
        "arguments": {"type": "object", "properties": schemas, "required": required},
        "result": operation.codec.result.adapter.json_schema(mode="serialization"),
        "raises": {code: _error(each.fields) for code, each in operation.codec.errors.items()},
    }


def _error(fields: tuple[tuple[str, object], ...]) -> dict[str, Any]:
    schemas = {name: adapter_of(kind).json_schema() for name, kind in fields}
    return {"type": "object", "properties": schemas, "required": [name for name, _ in fields]}


def _event(event: type[Event]) -> dict[str, Any]:
    return {"key": event.event_key, "fields": event.model_json_schema()}


def _path(system: System) -> Path:
    if system.contracts_snapshot is None:
        raise ConfigError(f"system {system.name!r} names no snapshot: System(..., contracts_snapshot=Path(...))")
    return system.contracts_snapshot
