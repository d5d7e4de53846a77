"""The pages of patterns: each says the same things about its pattern, and its examples run."""

import ast
import asyncio
import inspect
import re
from pathlib import Path

import pytest
from patterns_program import program

from archstone import blocking

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [page for folder in ("resilience", "cache") for page in sorted((DOCS / folder).glob("*.md"))]
PATTERNS = [page for page in PAGES if page.name not in {"README.md", "herd.md"}]
SAYS = {
    "use it when": r"(?m)^(## Use|\*\*Use)\b.*\bwhen\b",
    "do not use it when": r"(?m)(^## Do not use it when|\*\*Do not (use|rely)\b)",
    "promise": r"(?m)^## Promise$",
    "settings": r"(?m)^## Settings",
    "settings in a table": r"(?m)^\| ---",
    "failure modes": r"(?m)^## Failure modes$",
    "an example": r"(?m)^```python$",
    "common mistakes": r"(?m)^## Common mistakes$",
    "sources": r"(?m)^## Sources$",
}
GROUPED = {"integrations.md": {"promise", "settings"}}
"""Pages about several things, which say this for each."""


def name_of(page: Path) -> str:
    return f"{page.parent.name}/{page.stem}"


@pytest.mark.parametrize("page", PATTERNS, ids=name_of)
def test_a_page_says_what_every_page_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = {name for name, form in SAYS.items() if not re.search(form, text)}
    assert missing - GROUPED.get(page.name, set()) == set()


@pytest.mark.real_time
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one program each page, from top to bottom; `await` stands at the top as in a shell of asyncio."""
    if page.stem == "integrations":
        pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    names = program()
    for optional in ("httpx", "sqlalchemy"):
        if f"{optional}" in page.read_text(encoding="utf-8"):
            names[optional] = pytest.importorskip(optional)
    if "sqlalchemy" in names:
        names["engine"] = names["sqlalchemy"].create_engine("sqlite://")
    try:
        for found in re.finditer(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            run(found[1], names, where=name_of(page))
    finally:
        blocking.close()


def run(text: str, names: dict[str, object], *, where: str) -> None:
    code = compile(text, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    made = eval(code, names)

    async def wait() -> None:
        await made

    if inspect.iscoroutine(made):
        asyncio.run(wait())
