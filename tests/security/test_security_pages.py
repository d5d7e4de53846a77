"""What the pages about security claim can be looked up: each requirement once, each named test and file there."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
THREATS = (ROOT / "docs" / "security" / "threat-model.md").read_text(encoding="utf-8")
EXCHANGE = (ROOT / "docs" / "exchange" / "security.md").read_text(encoding="utf-8")
FUZZING = (ROOT / "docs" / "security" / "fuzzing.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+) \| (\d) \| ([^|]+) \| ([^|]+) \| (.*?) ?\|$", PAGE, re.MULTILINE)
REQUIRED = (Path(__file__).parent / "data" / "asvs_5.0.0_levels_1_and_2.txt").read_text(encoding="utf-8").split("\n")
QUOTED = re.compile(r"`([\w./]+\.(?:py|md|lock|toml)|[\w./]+/)(?:::(\w+))?`")


@cache
def files() -> dict[str, str]:
    """Return every file that a page may name: by its path, and tests by their name alone."""
    inside = [path for top in ("src", "tests", "docs") for path in (ROOT / top).rglob("*.*")]
    named = {str(path.relative_to(ROOT)): path for path in inside}
    named |= {path.name: path for path in ROOT.glob("*.*")}
    named |= {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    return {name: path.read_text(encoding="utf-8") for name, path in named.items() if path.suffix in {".py", ".md"}} | {
        name: "" for name in named if name.endswith((".lock", ".toml"))
    }


def missing(text: str) -> list[str]:
    found = QUOTED.findall(text)
    gone = [name for name, _ in found if name not in files()]
    return gone + [f"{name}::{test}" for name, test in found if test and f"def {test}(" not in files().get(name, "")]


def test_every_requirement_of_levels_1_and_2_is_listed_once_in_order() -> None:
    assert [f"{number} {level}" for number, level, *_ in ROWS] == [line for line in REQUIRED if line]
    assert len(ROWS) == 253


def test_every_status_is_one_of_four_and_says_why() -> None:
    assert {status for *_, status, _ in ROWS} <= {"met", "partly", "not met", "n/a"}
    assert [number for number, _, _, status, shown in ROWS if status != "not met" and not shown] == []


def test_the_page_counts_right() -> None:
    told = re.search(r"^Today: (\d+) met, (\d+) partly, (\d+) not met, (\d+) not applicable\.$", PAGE, re.MULTILINE)
    assert told is not None
    counted = Counter(status for *_, status, _ in ROWS)
    assert [int(each) for each in told.groups()] == [counted[each] for each in ("met", "partly", "not met", "n/a")]


def test_every_file_and_test_that_the_pages_name_is_there() -> None:
    assert missing(PAGE) == []
    assert missing(THREATS) == []
    assert missing(FUZZING) == []
    assert missing(EXCHANGE) == []


@pytest.mark.parametrize(
    "text", ["`test_nowhere.py`", "`test_security_pages.py::test_nothing`", "`src/archstone/no.py`"]
)
def test_what_is_not_there_is_noticed(text: str) -> None:
    assert missing(text) != []


def test_every_threat_has_what_stands_against_it_and_a_test() -> None:
    threats = re.findall(r"^\| ([STRIDE]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", THREATS, re.MULTILINE)
    assert len(threats) > 40
    assert [what for _, what, against, shown in threats if not against.strip() or not QUOTED.search(shown)] == []
    for service in ("gateway", "pages", "users", "catalog", "carts", "inventory", "orders", "payments", "shipping",
                    "notifications", "analytics", "bus", "runtime"):  # fmt: skip
        section = re.search(rf"^### {service}\n(.*?)(?=^###|\Z)", THREATS, re.MULTILINE | re.DOTALL)
        assert section is not None, service
        kinds = set(re.findall(r"^\| ([STRIDE]) \|", section[1], re.MULTILINE))
        said = "".join(re.findall(r"^Not here: (.*)$", section[1], re.MULTILINE))
        nothing = set(re.findall(r"[STRIDE](?=[^a-z|]*:)", said))
        assert kinds | nothing == set("STRIDE"), service


def test_no_two_attacks_have_one_name() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("test_*.py")))
    names = re.findall(r"^ *(?:async )?def (test_attack_\w+)", source, re.MULTILINE)
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert len(names) >= 60
