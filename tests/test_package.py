"""What holds for the whole package: exports, docstrings, error pages, crash points, the one door to the world."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import archstone
from archstone import world
from archstone.errors import ArchstoneError

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "archstone"
FILES = sorted(SOURCE.rglob("*.py"))
BLOCKS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
CORE = ["data", "cache", "messaging", "eventsourcing", "sagas", "services", "resilience", "observability", "simulation"]
CORE_DEPENDENCIES = ["pydantic", "orjson", "structlog"]
DOORS = {"time", "random", "secrets", "uuid"}
"""Standard modules that only world.py may use."""
DOOR_CALLS = {"datetime.now", "datetime.utcnow", "datetime.datetime.now", "date.today", "os.urandom"}
CALLED = {"time", *(call.rpartition(".")[2] for call in DOOR_CALLS)}
TYPES = {"UUID", "Random"}
"""Types of those modules, which anybody may name."""
EXCEPTIONS = {
    # Not for its own choices: it seeds generators of chance, which it hands out through its world.
    "simulation/loop.py": {"random"},
    "simulation/world.py": {"random", "self._loop.time"},
    # A program of its own, which imports nothing of Archstone so that it stays tiny.
    "runtime/revive.py": {"time", "datetime.now"},
}


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def modules() -> Iterator[ModuleType]:
    yield archstone
    for found in pkgutil.walk_packages(archstone.__path__, "archstone."):
        yield importlib.import_module(found.name)


def all_errors(branch: type[ArchstoneError]) -> Iterator[type[ArchstoneError]]:
    yield branch
    for below in branch.__subclasses__():
        yield from all_errors(below)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_package_exports_what_it_says_sorted(block: str) -> None:
    package = importlib.import_module(f"archstone.{block}")
    exported = list(package.__all__)
    # The order of the linter: constants, then classes, then functions.
    assert len(exported) == len(set(exported))
    assert [name for name in exported if not hasattr(package, name)] == []
    bound = {
        name
        for node in ast.parse((SOURCE / block / "__init__.py").read_text()).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"archstone.{block}")
        for name in (alias.asname or alias.name for alias in node.names)
    }
    assert bound - set(exported) == set()


def test_every_module_says_what_it_is_for() -> None:
    assert [name_of(path) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_only_world_touches_time_chance_secrets_and_ids() -> None:
    found = {
        name_of(path): {door for node in ast.walk(ast.parse(path.read_text())) if (door := door_of(node))}
        for path in FILES
        if path != SOURCE / "world.py"
    }
    used = {name: doors - EXCEPTIONS.get(name, set()) for name, doors in found.items()}
    assert {name: doors for name, doors in used.items() if doors} == {}


def door_of(node: ast.AST) -> str | None:
    """Return what a piece of source uses that only world.py may use."""
    if isinstance(node, ast.Import):
        return next(iter({alias.name.split(".")[0] for alias in node.names} & DOORS), None)
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        top = (node.module or "").split(".")[0]
        return top if top in DOORS and not {alias.name for alias in node.names} <= TYPES else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLED:
        called = ast.unparse(node.func)
        return called if called in DOOR_CALLS or called.endswith("loop.time") else None
    return None


def test_every_error_code_has_a_page() -> None:
    for _ in modules():
        pass
    ours = [error for error in all_errors(ArchstoneError) if error.__module__.startswith("archstone.")]
    codes = {error.code for error in ours if not error.__module__.startswith("archstone.systems.")}
    assert sorted(code for code in codes if not (ROOT / "docs" / "errors" / f"{code}.md").is_file()) == []


def test_every_page_belongs_to_an_error_code() -> None:
    for _ in modules():
        pass
    codes = {"README", *(error.code for error in all_errors(ArchstoneError))}
    assert sorted(page.stem for page in (ROOT / "docs" / "errors").glob("*.md") if page.stem not in codes) == []


def declared_points() -> dict[str, str]:
    """Return every crash point of the source with the name of its constant."""
    found: dict[str, str] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(call := node.value, ast.Call):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                if ast.unparse(call.func).endswith("declare_point"):
                    found[ast.literal_eval(call.args[0])] = ast.unparse(target)
    return found


CRASHING = ("crash", "shop", "postgres", "two_phase")


def test_every_crash_point_is_named_in_a_test() -> None:
    """Each block's crash test names its own; the shop's takes the shop's, and most of the others, from the registry."""
    for _ in modules():
        pass
    points = declared_points()
    assert sorted(points) == sorted(point for point in world.crash_points() if not point.startswith("test"))
    tests = "\n".join(
        path.read_text() for path in (ROOT / "tests").rglob("*.py") if any(word in path.name for word in CRASHING)
    )
    assert [
        point
        for point, name in points.items()
        if not point.startswith("shop.") and point not in tests and f".{name}" not in tests
    ] == []


def test_a_system_uses_public_names_only() -> None:
    hidden: list[str] = []
    for path in (SOURCE / "systems").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("archstone."):
                continue
            parts = (node.module or "").split(".")
            if parts[1] == "systems":
                continue
            exported = getattr(importlib.import_module(".".join(parts[:2])), "__all__", ())
            names = [alias.name for alias in node.names]
            if len(parts) > 2 or any(name not in exported for name in names):
                hidden.append(f"{name_of(path)}: from {node.module} import {', '.join(names)}")
    assert hidden == []


IMPORT_CORE = """
import importlib.metadata, re, sys
allowed, todo = set(), sys.argv[1].split(",")
while todo:
    name = re.sub("[-_.]+", "-", todo.pop()).lower()
    if name not in allowed:
        allowed.add(name)
        wanted = importlib.metadata.requires(name) or []
        todo += [re.match("[A-Za-z0-9._-]+", line)[0] for line in wanted if "extra ==" not in line]
owners = importlib.metadata.packages_distributions()

class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in owners and top != "archstone" and not any(
            re.sub("[-_.]+", "-", owner).lower() in allowed for owner in owners[top]
        ):
            raise ModuleNotFoundError(f"No module named {name!r} (not part of the core)", name=name)

sys.meta_path.insert(0, Absent())
for block in sys.argv[2].split(","):
    importlib.import_module(f"archstone.{block}")
import importlib
"""


def test_the_core_blocks_import_with_the_core_dependencies_alone() -> None:
    blocks = [block for block in CORE if block in BLOCKS]
    command = [sys.executable, "-c", "import importlib\n" + IMPORT_CORE, ",".join(CORE_DEPENDENCIES), ",".join(blocks)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_core_has_at_most_five_dependencies() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) <= 5
    assert [line.split(">")[0] for line in project["dependencies"]] == CORE_DEPENDENCIES
