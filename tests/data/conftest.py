"""Fixtures of the tests of data."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled power-cut shim."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("the power-cut shim needs Linux and a C compiler named cc")
    library = tmp_path_factory.mktemp("shim") / "power_cut.so"
    source = Path(__file__).parent / "power_cut.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", library, source, "-ldl", "-lpthread"],
        check=True,
        timeout=60,
    )
    return library
