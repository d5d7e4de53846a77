"""What is in C++ under AddressSanitizer and UndefinedBehaviorSanitizer: it says the same, and does it cleanly."""

import shutil
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from archstone.systems.exchange.matching import Events, Kind, ReferenceEngine, rows_of
from archstone.systems.exchange.matching.flows import FLOWS, flow
from archstone.systems.exchange.venue import ReferenceVenue
from archstone.systems.exchange.venue.flows import VENUE_FLOWS, opening, venue_flow
from archstone.systems.exchange.venue.state import body_of

SOURCE = Path(__file__).parents[3] / "native" / "matching" / "src"
PRIME, START = 0x100000001B3, 0xCBF29CE484222325
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (compiler := shutil.which("c++")) is None:
        pytest.skip("there is no C++ compiler here")
    program = tmp_path_factory.mktemp("native") / "replay"
    options = ["-std=c++20", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [compiler, *options, f"-I{SOURCE / 'core'}", SOURCE / "replay.cpp", "-o", program]
    subprocess.run(command, check=True, timeout=300)
    return program


def digest_of(events: Events) -> str:
    digest = START
    for byte in events.tobytes():
        digest = (digest ^ byte) * PRIME & (2**64 - 1)
    return f"{digest:016x}"


@pytest.mark.parametrize("name", FLOWS)
def test_a_long_flow_breaks_no_rule_of_the_language(replay: Path, tmp_path: Path, name: str) -> None:
    rows = rows_of(islice(flow(name, seed=7), 30_000))
    rows.tofile(tmp_path / "commands")
    done = subprocess.run([replay, tmp_path / "commands"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    book = ReferenceEngine()
    events = book.apply_batch(rows)
    assert done.stdout.split() == [str(len(events)), digest_of(events), f"{book.digest():016x}"]


def test_records_of_random_bytes_are_survived(replay: Path, tmp_path: Path) -> None:
    from random import Random

    random = Random(5)
    commands = bytearray(random.randbytes(64 * 50_000))
    commands[::64] = bytes(random.randint(0, 8) for _ in range(50_000))  # or nearly all have an unknown kind
    (tmp_path / "commands").write_bytes(commands)
    done = subprocess.run([replay, tmp_path / "commands"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


AT_NS, STEP_NS = 1_700_000_000_000_000_000, 50_000_000


@pytest.mark.parametrize("name", VENUE_FLOWS)
def test_a_venue_breaks_no_rule_of_the_language(replay: Path, tmp_path: Path, name: str) -> None:
    rows = np.concatenate([commands for commands, _ in islice(venue_flow(name, seed=7), 400)])
    rows.tofile(tmp_path / "commands")
    command = [replay, tmp_path / "commands", str(AT_NS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    venue, told = ReferenceVenue(), list[Events]()
    for index in range(len(rows)):
        events = venue.apply(rows[index : index + 1], AT_NS + index * STEP_NS)
        events["command"] = index
        told.append(events)
    events = np.concatenate(told)
    assert done.stdout.split() == [str(len(events)), digest_of(events), f"{venue.digest():016x}"]


def test_a_venue_survives_records_of_random_bytes(replay: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    first = opening(VENUE_FLOWS["many"])
    rows = np.frombuffer(random.bytes(64 * 30_000), first.dtype).copy()
    rows["kind"] = random.choice([*Kind], len(rows))
    rows["book"] &= 7
    rows["account"] &= 63
    rows["id"] = rows["account"].astype("u8") << np.uint64(32) | rows["id"] & np.uint64(0xFFFF)
    for name in ("type", "tif", "flags", "stp", "side"):
        rows[name] &= 3
    for name in ("price", "quantity", "display", "trigger"):
        rows[name] = np.where(random.random(len(rows)) < 0.8, rows[name] & 0xFF, rows[name])
    np.concatenate([first, rows]).tofile(tmp_path / "commands")
    command = [replay, tmp_path / "commands", str(AT_NS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_dumps_that_were_changed_are_refused_or_loaded_and_go_on(replay: Path, tmp_path: Path) -> None:
    venue, flow = ReferenceVenue(), venue_flow("tight", seed=8)
    for commands, at_ns in islice(flow, 12):
        venue.apply(commands, at_ns)
    body, _ = body_of(venue.dump())
    (tmp_path / "dump").write_bytes(body)
    commands, at_ns = next(flow)
    commands.tofile(tmp_path / "commands")
    command = [replay, tmp_path / "commands", str(at_ns), tmp_path / "dump", "400"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    refused, taken = map(int, done.stdout.split())
    assert refused + taken == 400
    assert min(refused, taken) > 50
