"""The venue in C++ under AddressSanitizer and UndefinedBehaviorSanitizer: it says the same, and does it cleanly."""

import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from test_matching_sanitized import PRIME, START, replay

from archstone.systems.exchange.matching import Kind
from archstone.systems.exchange.venue import ReferenceVenue
from archstone.systems.exchange.venue.flows import VENUE_FLOWS, opening, venue_flow

pytestmark = pytest.mark.slow
AT_NS = 1_700_000_000_000_000_000
__all__ = ["replay"]


def done(replay: Path, file: Path) -> list[str]:
    command = [replay, file, str(AT_NS)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


@pytest.mark.parametrize("name", VENUE_FLOWS)
def test_a_long_flow_breaks_no_rule_of_the_language(replay: Path, tmp_path: Path, name: str) -> None:
    rows = np.concatenate([commands for commands, _ in islice(venue_flow(name, seed=7), 600)])
    rows.tofile(tmp_path / "commands")
    venue = ReferenceVenue()
    events = venue.apply(rows, AT_NS)
    digest = START
    for byte in events.tobytes():
        digest = (digest ^ byte) * PRIME & (2**64 - 1)
    assert done(replay, tmp_path / "commands") == [str(len(events)), f"{digest:016x}", f"{venue.digest():016x}"]


def test_records_of_random_bytes_are_survived(replay: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    first = opening(VENUE_FLOWS["many"])
    rows = np.frombuffer(random.bytes(64 * 50_000), first.dtype).copy()
    rows["kind"] = random.choice([*Kind], len(rows))
    rows["book"] &= 7
    rows["account"] &= 63
    rows["id"] = rows["account"].astype("u8") << np.uint64(32) | rows["id"] & np.uint64(0xFFFF)
    np.concatenate([first, rows]).tofile(tmp_path / "commands")
    done(replay, tmp_path / "commands")
