"""Systems as `archstone up` runs them, for what is measured from outside."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import room


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(system: str, *options: str, **environment: str) -> Iterator[tuple[int, Path]]:
    """Run a system as `archstone up` does, in a folder of its own on this disk; give its port and its data folder."""
    port = free_port()
    with tempfile.TemporaryDirectory(dir=room()) as folder, Path(f"{folder}/log").open("wb") as log:
        data = Path(f"{folder}/data")
        command = [sys.executable, "-m", "archstone.cli", "up", system, "--port", str(port), "--data", str(data)]
        environ = {**os.environ, **environment}
        process = subprocess.Popen([*command, *options], env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _await_ready(port, process, Path(f"{folder}/log"))
            yield port, data
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _await_ready(port: int, process: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the system ended:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise RuntimeError("the system was not ready within 30 s")
