"""The engine in C++ under AddressSanitizer and UndefinedBehaviorSanitizer: it says the same, and does it cleanly."""

import shutil
import subprocess
from itertools import islice
from pathlib import Path

import pytest

from archstone.systems.exchange.matching import ReferenceEngine, rows_of
from archstone.systems.exchange.matching.flows import FLOWS, flow

SOURCE = Path(__file__).parents[3] / "native" / "matching" / "src"
PRIME, START = 0x100000001B3, 0xCBF29CE484222325
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (compiler := shutil.which("c++")) is None:
        pytest.skip("there is no C++ compiler here")
    program = tmp_path_factory.mktemp("native") / "replay"
    options = ["-std=c++20", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [compiler, *options, f"-I{SOURCE / 'core'}", SOURCE / "replay.cpp", "-o", program]
    subprocess.run(command, check=True, timeout=300)
    return program


@pytest.mark.parametrize("name", FLOWS)
def test_a_long_flow_breaks_no_rule_of_the_language(replay: Path, tmp_path: Path, name: str) -> None:
    rows = rows_of(islice(flow(name, seed=7), 30_000))
    rows.tofile(tmp_path / "commands")
    done = subprocess.run([replay, tmp_path / "commands"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    book = ReferenceEngine()
    events = book.apply_batch(rows)
    digest = START
    for byte in events.tobytes():
        digest = (digest ^ byte) * PRIME & (2**64 - 1)
    assert done.stdout.split() == [str(len(events)), f"{digest:016x}", f"{book.digest():016x}"]


def test_records_of_random_bytes_are_survived(replay: Path, tmp_path: Path) -> None:
    from random import Random

    random = Random(5)
    commands = bytearray(random.randbytes(64 * 50_000))
    commands[::64] = bytes(random.randint(0, 8) for _ in range(50_000))  # or nearly all have an unknown kind
    (tmp_path / "commands").write_bytes(commands)
    done = subprocess.run([replay, tmp_path / "commands"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
