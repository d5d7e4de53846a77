"""What Archstone is made of: every part pinned by hash, listed, and looked up among known vulnerabilities.

    python docs/security/supply.py hashes requirements.lock ...     every part has one version and its hashes
    python docs/security/supply.py sbom OUT requirements.lock       CycloneDX 1.6, the same bytes for the same lock
    python docs/security/supply.py audit FOLDER requirements.lock   FOLDER: a copy of the PyPA advisory database

`make check` runs the first, `make sbom` and `make audit ADVISORIES=FOLDER` the others. None asks a server for anything.
"""

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[a-z0-9_,-]+\])?==(?P<version>[^\s;]+)(\s*;[^#]*?)?"
    r"(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)"
)


class Pin(NamedTuple):
    """A part that is locked."""

    name: str
    version: str
    hashes: tuple[str, ...]


def canonical(name: str) -> str:
    """Return a name of a distribution as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(text: str) -> Iterator[str]:
    """Yield the requirements of a lock file, each in one line."""
    joined = re.sub(r"\\\n\s*", " ", text)
    yield from (line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def pins(text: str) -> tuple[list[Pin], list[str]]:
    """Return what a lock file pins, and every line that is not one version with its hashes."""
    found: list[Pin] = []
    faults: list[str] = []
    for entry in entries(text):
        pin = PIN.fullmatch(entry)
        if pin is None:
            faults.append(f"no single version with hashes: {entry[:80]}")
        else:
            hashes = re.findall("[0-9a-f]{64}", pin["hashes"])
            found.append(Pin(canonical(pin["name"]), pin["version"], tuple(hashes)))
    return found, faults


def sbom(lock: Path) -> str:
    """Return the parts list of a lock file as CycloneDX JSON, without the name of any host."""
    command = [
        str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", str(lock), "--pyproject",
        str(ROOT / "pyproject.toml"), "--index-url", "index", "--output-reproducible", "--short-PURLs",
    ]  # fmt: skip
    made = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own arguments
    listed: dict[str, Any] = json.loads(made.stdout)
    for part in listed["components"]:
        part.pop("description", None)  # the line of the lock file, once more
        for reference in part.get("externalReferences", []):
            # Its hashes are the point; where the file is fetched from is the choice of whoever installs.
            reference["url"] = f"{part['name']}-{part['version']}"
    for tool in listed["metadata"].get("tools", {}).get("components", []):
        tool.pop("externalReferences", None)
    return json.dumps(listed, indent=1, sort_keys=True) + "\n"


def known(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the advisories about a distribution that a copy of the database holds and that were not withdrawn."""
    import yaml  # noqa: PLC0415 - only here

    for path in sorted((folder / "vulns" / name).glob("*.yaml")):
        advisory = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "withdrawn" not in advisory:
            yield advisory


def touches(advisory: dict[str, Any], pin: Pin) -> bool:
    """Return whether an advisory is about this version: listed, or inside of a range (OSV, `introduced` to `fixed`)."""
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415

    def same(text: str) -> bool:
        """Whether it is this version; one from before there was a standard for them is none that is locked."""
        try:
            return Version(text) == version
        except InvalidVersion:
            return False

    version = Version(pin.version)
    for affected in advisory.get("affected", []):
        if canonical(affected["package"]["name"]) != pin.name:
            continue
        if any(same(str(each)) for each in affected.get("versions", [])):
            return True
        for span in affected.get("ranges", []):
            if span["type"] == "ECOSYSTEM" and _inside(span["events"], version, Version):
                return True
    return False


def _inside(events: list[dict[str, Any]], version: Any, parsed: Any) -> bool:
    inside = False
    for event in events:
        [(what, text)] = event.items()
        bound = parsed(str(text))
        if what == "introduced":
            inside = inside or version >= bound
        elif version > bound or (what == "fixed" and version == bound):
            inside = False
    return inside


def audit(folder: Path, locks: list[Path]) -> list[str]:
    """Return a line for each advisory that is about a version which is locked."""
    wanted = {pin for lock in locks for pin in pins(lock.read_text(encoding="utf-8"))[0]}
    return [
        f"{pin.name} {pin.version}: {advisory['id']} {' '.join(advisory.get('aliases', []))}".rstrip()
        for pin in sorted(wanted)
        for advisory in known(folder, pin.name)
        if touches(advisory, pin)
    ]


def main(verb: str, *arguments: str) -> int:
    """Do what the command line asks for."""
    warnings.simplefilter("ignore")
    if verb == "sbom":
        out, lock = map(Path, arguments)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(sbom(lock), encoding="utf-8")
        return 0
    folder, locks = (Path(arguments[0]), arguments[1:]) if verb == "audit" else (None, arguments)
    paths = [Path(lock) for lock in locks]
    if folder is not None and not (folder / "vulns").is_dir():
        print(
            f"{folder} is no copy of the PyPA advisory database: it has no folder vulns. "
            "Say where one is: ADVISORIES=FOLDER"
        )
        return 2
    faults = (
        audit(folder, paths)
        if folder
        else [f"{path.name}: {fault}" for path in paths for fault in pins(path.read_text(encoding="utf-8"))[1]]
    )
    fine = "every part has one version and its hashes" if folder is None else "no known vulnerability"
    print("\n".join(faults) or f"{fine}: {', '.join(path.name for path in paths)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
