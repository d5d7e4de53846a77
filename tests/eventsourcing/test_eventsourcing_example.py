"""The example in examples/ works as it stands, and the page shows it as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "users_from_events.py"


@pytest.mark.real_time
def test_it_says_what_happened_to_a_user(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "found: [('1', 'John Doe')]",
        "state: John Doe john@email.com after 3 events",
        "event: 1 UserCreated",
        "event: 2 EmailChanged",
        "event: 3 NameChanged",
        "found: []",
        "state: (erased)",
    ]


def test_what_the_page_shows_stands_in_the_example():
    page = (ROOT / "docs" / "eventsourcing.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- from the example -->\n```python\n(.*?)```", page, re.DOTALL)
    assert len(shown) >= 3
    example = EXAMPLE.read_text(encoding="utf-8")
    assert [piece for piece in shown if piece.strip() not in example] == []
