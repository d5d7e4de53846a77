"""The supply chain: what is locked, how it is listed, and how known vulnerabilities are found."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))

_spec = importlib.util.spec_from_file_location("supply", ROOT / "docs" / "security" / "supply.py")
assert _spec is not None
assert _spec.loader is not None
supply = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(supply)

HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_part_is_locked_to_one_version_with_its_hashes(lock: Path) -> None:
    found, faults = supply.pins(lock.read_text(encoding="utf-8"))
    assert faults == []
    assert len(found) > 20
    assert all(pin.hashes for pin in found)


@pytest.mark.parametrize(
    "line",
    [
        "requests==2.31.0", f"requests>=2.31.0 {HASH}", f"requests {HASH}", "requests==2.31.0 --hash=md5:00",
        f"git+https://example.com/requests {HASH}", "-e .", "--index-url https://example.com/simple",
        f"requests @ https://example.com/requests.whl {HASH}",
    ],
)  # fmt: skip
def test_what_is_not_locked_is_found(line: str) -> None:
    assert supply.pins(line)[1] != []


def test_markers_and_extras_are_understood() -> None:
    text = f"uvicorn[standard]==0.34 ; python_version < '3.14' \\\n    {HASH} \\\n    {HASH}\n    # via x\n"
    assert supply.pins(text) == ([supply.Pin("uvicorn", "0.34", ("0" * 64, "0" * 64))], [])


def test_the_list_of_parts_is_whole_and_the_same_each_time() -> None:
    lock = ROOT / "requirements.lock"
    one = supply.sbom(lock)
    assert one == supply.sbom(lock)
    listed = json.loads(one)
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    parts = {(supply.canonical(part["name"]), part["version"]) for part in listed["components"]}
    assert parts == {(pin.name, pin.version) for pin in supply.pins(lock.read_text(encoding="utf-8"))[0]}
    assert all(part["purl"].startswith("pkg:") for part in listed["components"])
    hashed = {
        each["content"] for part in listed["components"] for ref in part["externalReferences"] for each in ref["hashes"]
    }
    assert hashed == {h for pin in supply.pins(lock.read_text(encoding="utf-8"))[0] for h in pin.hashes}
    named = [line for line in one.splitlines() if "://" in line and "$schema" not in line]
    assert named == []


ADVISORY = """
id: PYSEC-0000-1
aliases: [CVE-0000-1]
affected:
- package: {ecosystem: PyPI, name: My_Part}
  ranges:
  - type: ECOSYSTEM
    events: [{introduced: "0"}, {fixed: 1.5.0}, {introduced: 2.0.0}, {last_affected: 2.1.0}]
  versions: ["2004d", "3.0"]
"""


@pytest.fixture
def advisories(tmp_path: Path) -> Path:
    folder = tmp_path / "vulns" / "my-part"
    folder.mkdir(parents=True)
    (folder / "PYSEC-0000-1.yaml").write_text(ADVISORY)
    return tmp_path


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("1.0", True), ("1.4.9", True), ("1.5.0", False), ("1.9", False), ("2.0.0", True), ("2.1.0", True),
        ("2.1.1", False), ("3.0", True), ("3.0.0", True), ("3.1", False),
    ],
)  # fmt: skip
def test_a_version_with_a_known_vulnerability_is_found(
    advisories: Path, tmp_path: Path, version: str, known: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text(f"my.part=={version} {HASH}\nother==1.0 {HASH}\n")
    assert supply.main("audit", str(advisories), str(lock)) == int(known)
    said = capsys.readouterr().out
    assert (f"my-part {version}: PYSEC-0000-1 CVE-0000-1" in said) == known


def test_a_withdrawn_advisory_counts_no_more(advisories: Path) -> None:
    path = advisories / "vulns" / "my-part" / "PYSEC-0000-1.yaml"
    path.write_text(f'{ADVISORY}withdrawn: "2026-01-01T00:00:00Z"\n')
    assert list(supply.known(advisories, "my-part")) == []


def test_a_folder_that_is_no_database_is_no_clean_bill(tmp_path: Path) -> None:
    assert supply.main("audit", str(tmp_path), str(LOCKS[0])) == 2
