"""Every attack that is a test falls upon a weak variant too: an attack that nothing falls to shows nothing.

What is looked for is that a weak variant stands in the test, in what it uses of its file, or in a sibling that tries
what is found in the wild (`test_attack_X_against_...`). Whether it is weak in the right way a reader says.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

TESTS: Final = Path(__file__).parents[1]
SHOWN: Final = re.compile(
    r"(?<![a-z])weak"  # a comment, a docstring, a function: "weak: takes any origin in which our name stands"
    r"|\bcaught(_later)?\("  # the same check on a weak variant must fail
    r"|\bfalls\b"  # a parameter: whether the attack comes through on this variant
    r"|against_",
    re.IGNORECASE,
)


class Attack(NamedTuple):
    """A test."""

    file: str
    name: str
    shown: bool
    """Whether it shows a weak variant."""


def attacks(source: str, file: str) -> Iterator[Attack]:
    """Return the attacks in a module."""
    lines, tree = source.split("\n"), ast.parse(source)
    named = {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }

    def text(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
        return "\n".join(
            lines[min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1 : node.end_lineno]
        )

    def with_what_it_uses(name: str, seen: set[str]) -> Iterator[str]:
        if name in seen:
            return
        seen.add(name)
        yield text(named[name])
        for node in ast.walk(named[name]):
            used = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
            if used in named and not used.startswith("test_"):
                yield from with_what_it_uses(used, seen)

    for name in named:
        if name.startswith("test_attack_"):
            whole = "\n".join(with_what_it_uses(name, set()))
            paired = any(other.startswith(f"{name}_against_") for other in named)
            yield Attack(file, name, paired or SHOWN.search(whole.replace(name, "")) is not None or "_against_" in name)


def all_attacks() -> list[Attack]:
    files = sorted(TESTS.rglob("test_*.py"))
    return [each for file in files for each in attacks(file.read_text(encoding="utf-8"), file.name)]


def test_every_attack_falls_upon_a_weak_variant() -> None:
    found = all_attacks()
    assert len(found) >= 190
    assert [f"{each.file}::{each.name}" for each in found if not each.shown] == []


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("    assert safe(1)", False),
        ("    assert safe(1)\n    caught(lambda: check(open))", True),
        ("    assert safe(1)  # weak: looks at the first byte", True),
        ("    assert check(safe)", False),
        ("    assert leaky(1)", True),
    ],
)
def test_one_without_is_noticed(body: str, shown: bool) -> None:
    uses = 'def check(kind):\n    return kind(2)\n\n\ndef leaky(x):\n    """Weak: takes all."""\n'
    source = f"{uses}\n\ndef test_attack_x():\n{body}\n"
    assert [each.shown for each in attacks(source, "x.py")] == [shown]


def test_a_sibling_that_tries_what_is_in_the_wild_will_do() -> None:
    source = "def test_attack_x():\n    pass\n\n\ndef test_attack_x_against_the_guide():\n    pass\n"
    assert [each.shown for each in attacks(source, "x.py")] == [True, True]
