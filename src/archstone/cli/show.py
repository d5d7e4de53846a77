"""What the verbs print: tables fitted to a terminal and whole elsewhere, fields, JSON.

Texts come from users of the system: what could steer a terminal is left out of them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

__all__ = ["err", "out", "print_fields", "print_json", "print_table", "say"]

out: Final = Console(highlight=False, emoji=False)
err: Final = Console(stderr=True, highlight=False, emoji=False)


def say(text: str) -> None:
    """Print a sentence, in markup; the terminal breaks it where it must, and a pipe gets it whole."""
    out.print(text, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows below the names of their columns; `none` when there are none.

    On a terminal long cells are folded. In a pipe or a file a row is one line, whole.
    """
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if not rows:
        say("none")
    elif out.is_terminal:
        # What a row is named by stays on one line, so that it can be copied.
        rest = [Column(name, overflow="fold") for name in columns[1:]]
        table = Table(Column(columns[0], no_wrap=True), *rest, box=None, header_style="bold")
        for row in cells:
            table.add_row(*map(escape, row))
        out.print(table)
    else:
        _print_whole([list(columns), *cells])


def _print_whole(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        out.print(text.rstrip(), markup=False, soft_wrap=True)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print each name with its value, a line each."""
    for name, value in fields.items():
        out.print(f"[bold]{escape(name)}[/]  {escape(_cell(value))}", soft_wrap=True)


def print_json(answer: Mapping[str, Any]) -> None:
    """Print an answer as JSON, for programs."""
    out.print(json.dumps(answer, indent=2), markup=False, soft_wrap=True)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return "".join(each if each.isprintable() else " " for each in text)
