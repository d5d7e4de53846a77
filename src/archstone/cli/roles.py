"""The verb `archstone roles SYSTEM`: who may do what."""

# ruff: noqa: FBT002 - flags as typer reads them

from typing import Annotated, Any

import typer

from archstone.cli.asking import AsJson, SystemName, examples
from archstone.cli.fields import fields_of, roles_of
from archstone.cli.find import find_system
from archstone.cli.show import print_json, print_table, say
from archstone.services import System

__all__ = ["add_to", "rows_of"]

Inner = Annotated[bool, typer.Option("--inner", help="Operations between services, too.")]
OfFields = Annotated[bool, typer.Option("--fields", help="Which roles read and set which fields.")]


def rows_of(system: System, *, inner: bool) -> list[dict[str, Any]]:
    """Return each operation with what it requires and who has that, in the order of services.

    Args:
        system: Whose operations.
        inner: Those that the gateway does not route, too.
    """
    return [
        {
            "operation": each.full_name,
            "request": f"{each.method} {each.path}" if each.public else "between services",
            "requires": each.requires,
            "roles": roles_of(system, each),
        }
        for each in system.operations
        if each.public or inner
    ]


def roles(system: SystemName, inner: Inner = False, of_fields: OfFields = False, as_json: AsJson = False) -> None:
    """Print who may do what: each operation, the permission that it requires, and the roles that have it.

    Whose a thing must be besides, such as one's own order, is not in this table: the service decides it for each row.
    """
    found = find_system(system)
    if of_fields:
        _print_fields(found, as_json=as_json)
        return
    rows = rows_of(found, inner=inner)
    if as_json:
        print_json({"system": found.name, "operations": rows})
        return
    columns = ["operation", "request", "requires", "roles"]
    print_table(columns, [{**row, "roles": ", ".join(row["roles"])} for row in rows])
    say(f"{len(rows)} operations; what is not in the table is not reachable from outside")


def _print_fields(system: System, *, as_json: bool) -> None:
    rows = [each._asdict() for each in fields_of(system)]
    if as_json:
        print_json({"system": system.name, "types": rows})
        return
    shown = [{name: value if name == "name" else ", ".join(value) for name, value in row.items()} for row in rows]
    print_table(["name", "fields", "read", "set"], shown)
    say(f"{len(rows)} types; a field that is not in the table is neither taken nor told")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(
        epilog=examples("archstone roles shop", "archstone roles shop --fields", "archstone roles shop --inner --json")
    )(roles)
