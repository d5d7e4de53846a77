"""What the pages of documentation claim about the code is so."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import archstone
from archstone import world
from archstone.errors import ArchstoneError

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "archstone"
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
DECISIONS = ROOT / "docs" / "decisions"


@pytest.fixture(scope="module", autouse=True)
def every_module() -> None:
    for found in pkgutil.walk_packages(archstone.__path__, "archstone."):
        importlib.import_module(found.name)


def all_errors(branch: type[ArchstoneError]) -> list[type[ArchstoneError]]:
    return [branch, *(error for below in branch.__subclasses__() for error in all_errors(below))]


def test_the_list_of_errors_has_every_code_with_its_status_once() -> None:
    page = (ROOT / "docs" / "errors" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[?([a-z-]+\.[a-z-]+)[^|]*\| (\d+) \|", page, re.MULTILINE)
    ours = [error for error in all_errors(ArchstoneError) if error.__module__.startswith("archstone.")]
    statuses = {error.code: str(error.status) for error in ours if "code" in vars(error)}
    assert sorted(statuses.items() - set(listed)) == []
    assert sorted(listed) == sorted(set(listed) & statuses.items())


def test_the_architecture_lists_every_crash_point_with_its_meaning() -> None:
    listed = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| ([^|]+) \| [^|]+ \|$", ARCHITECTURE, re.MULTILINE)
    points = {name: meaning for name, meaning in world.crash_points().items() if not name.startswith("test")}
    assert dict(listed) == points
    assert len(listed) == len(points)


def test_every_file_that_the_pages_name_is_there() -> None:
    pages = [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted(DECISIONS.glob("*.md"))]
    named = {
        (page.name, name)
        for page in pages
        for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|md|toml))`", page.read_text(encoding="utf-8"))
    }
    every = [
        str(path)
        for path in (
            *SOURCE.rglob("*"),
            *ROOT.glob("*"),
            *(ROOT / "tests").rglob("*"),
            *DECISIONS.parent.rglob("*"),
            *(ROOT / "benchmarks").glob("*"),
        )
    ]
    missing = [(page, name) for page, name in sorted(named) if not any(path.endswith(f"/{name}") for path in every)]
    assert missing == [("ARCHITECTURE.md", "archstone.toml")]  # the user's own file


def test_every_name_between_quotes_in_the_laws_and_bounds_is_in_the_code() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    tables = set(re.findall(r"`(_archstone_\w+)`", ARCHITECTURE))
    assert tables
    assert sorted(name for name in tables if name not in source) == []


def test_every_metric_that_a_page_names_is_measured() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    measured = set(re.findall(r'"((?:archstone|exchange|shop)_[a-z_]+)"', source))
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *SOURCE.rglob("*.md")]
    named = {
        (page.name, name.removesuffix("_total"))
        for page in pages
        for name in re.findall(r"`((?:archstone|exchange|shop)_[a-z_]+)", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 30
    assert sorted((page, name) for page, name in named if name not in measured) == []


def test_every_decision_is_one_page_in_the_one_form_and_in_the_list() -> None:
    pages = sorted(DECISIONS.glob("0*.md"))
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert headings == ["Context", "Choice", "What we gave up", "What would change our mind"], page.name
        assert len(text.splitlines()) <= 60, page.name
        title = text.splitlines()[0].removeprefix(f"# {page.name[:4]}: ")
        assert f"({page.name}) {title}" in index, page.name
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]


def test_the_glossary_defines_each_word_once_in_order() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| ([a-z ]+) \|", page, re.MULTILINE)[1:]
    assert words == sorted(set(words))
