"""Find SQL that is put together from strings: `python -m archstone.data.lint PATH...`.

A value that stands in the text of a statement is an injection that waits for its day; values are parameters (`:name`),
which no text can break out of. Looked for are texts that begin as a statement does and are made by an f-string with
something in it, by `+`, `%`, `.format` or `.join`, wherever they go.

What is no value passes: names of constants (`UPPER_CASE`, of a class or a module too), texts and numbers, the tables of
a read model (`self.table("sales")`), names of parameters (`", ".join(f":id{n}" for …)`), and what a comment gives a
reason for, on one of its lines or on a line of its own above; ruff's `noqa: S608 - reason` does as well:

    rows = await db.all(Row, f"SELECT {columns} FROM sales")  # sql: names of our own columns

Promise: it reads and runs nothing. It follows no value through functions: a text that is passed on whole is looked at
where it is made. Exit code 1 if there is something, 2 if a file cannot be read.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, cast

__all__ = ["Finding", "find_built_sql", "lint"]

_SQL: Final = re.compile(
    r"\s*(?:SELECT\b|INSERT\s+(?:OR\s+\w+\s+)?INTO\b|UPDATE\s+(?:\w+\.)?\w*\s*(?:SET\b)?|DELETE\s+FROM\b|REPLACE\s+INTO\b"
    r"|(?:CREATE|DROP|ALTER|TRUNCATE)\s+(?:UNIQUE\s+|TEMP\s+|TEMPORARY\s+)?(?:TABLE|INDEX|VIEW|SCHEMA|DATABASE|TRIGGER)\b"
    r"|WITH\s+\w+\s+AS\s*\(|PRAGMA\b|GRANT\b|CALL\b|MERGE\s+INTO\b|VALUES\s*\()"
)
_SMALL: Final = re.compile(
    r"\s*(?:select\b.*\bfrom\s+\S+\s+(?:where|order\s+by|group\s+by|limit|join)\b"
    r"|insert\s+into\b|update\s+\S+\s+set\b|delete\s+from\b)",
    re.IGNORECASE | re.DOTALL,
)
"""In small letters only what can hardly be anything else: prose selects and updates as well."""
_PART: Final = re.compile(r"\b(?:WHERE|AND|OR|SET|HAVING|LIKE)\b[^\0]*['\"=%<>]\s*\0|\b(?:VALUES|IN)\s*\([^\0)]*\0")
"""A part of a statement into which a value is put: `AND name = '…'`."""
_REASON: Final = re.compile(r"#\s*(?:sql:\s*|noqa: S608 - )\S")
_CONSTANT: Final = re.compile(r"_{0,2}[A-Z][A-Z0-9_]*")
_GONE: Final = "\0"
"""Stands for what is put in."""


class Finding(NamedTuple):
    """A statement that is put together."""

    path: str
    line: int
    text: str
    """As it is written, its first line."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: SQL is put together: {self.text}: give values as :parameters"


def lint(paths: Iterable[Path]) -> list[Finding]:
    """Return what is found in files, and in the Python files of folders, by path and line.

    Raises:
        OSError: One cannot be read.
        SyntaxError: One is no Python.
    """
    files = [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    return [finding for file in files for finding in find_built_sql(file.read_text(encoding="utf-8"), str(file))]


def find_built_sql(source: str, path: str = "<text>") -> list[Finding]:
    """Return what is found in one source."""
    lines = source.splitlines()
    inside: set[ast.AST] = set()
    found: list[Finding] = []
    for node in ast.walk(ast.parse(source, path)):
        if node in inside:
            continue
        text = _built(node)
        if text is None:
            continue
        inside.update(ast.walk(node))
        if _is_sql(text) and not _excused(lines, node):
            line = getattr(node, "lineno", 1)
            found.append(Finding(path, line, lines[line - 1].strip()[:100]))
    return sorted(found, key=lambda each: each.line)


def _built(node: ast.AST) -> str | None:
    """Return a text that is put together, with a mark for each part that may be a value; None for all else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(each.value if isinstance(each, ast.FormattedValue) else each) for each in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _part(node.left) + _part(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _filled(node.left, [node.right])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        values = [*node.args, *(each.value for each in node.keywords)]
        if node.func.attr == "format":
            return _filled(node.func.value, values)
        if node.func.attr == "join" and isinstance(node.args[0] if node.args else None, ast.Tuple | ast.List):
            return _part(node.func.value).join(map(_part, cast("ast.Tuple | ast.List", node.args[0]).elts))
    return None


def _is_sql(text: str) -> bool:
    return _GONE in text and any((_SQL.match(text), _SMALL.match(text), _PART.search(text)))


def _filled(template: ast.expr, values: Iterable[ast.expr]) -> str | None:
    text = _part(template)
    return text + "".join(_part(each) for each in values) if _GONE not in text else None


def _part(node: ast.expr) -> str:
    """Return what a part says; a mark if that is not known."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    if _CONSTANT.fullmatch(name):
        return f"<{name}>"
    if isinstance(node, ast.Tuple | ast.List):
        return "".join(map(_part, node.elts))
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.table":
        return "".join(map(_part, node.args))
    if _is_placeholders(node):
        return ":placeholders"
    built = _built(node)
    return _GONE if built is None else built


def _is_placeholders(node: ast.expr) -> bool:
    """Whether it is `", ".join(f":id{n}" for n in …)`: names of parameters, one for each of several values."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join"):
        return False
    made = node.args[0] if node.args else None
    each = made.elt if isinstance(made, ast.GeneratorExp | ast.ListComp) else None
    first = each.values[0] if isinstance(each, ast.JoinedStr) and each.values else None
    return isinstance(first, ast.Constant) and str(first.value).startswith(":")


def _excused(lines: list[str], node: ast.AST) -> bool:
    first = getattr(node, "lineno", 1)
    last = getattr(node, "end_lineno", first)
    above = lines[first - 2].strip() if first > 1 else ""
    return (above.startswith("#") and bool(_REASON.search(above))) or any(
        _REASON.search(line) for line in lines[first - 1 : last]
    )


def _main(words: list[str]) -> Iterator[str]:
    for finding in lint(map(Path, words or ["."])):
        yield str(finding)


if __name__ == "__main__":
    try:
        told = list(_main(sys.argv[1:]))
    except (OSError, SyntaxError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    sys.stdout.writelines(f"{each}\n" for each in told)
    raise SystemExit(1 if told else 0)
