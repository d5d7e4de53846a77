"""What `serve` promises a view, and what a view cannot do to a system."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from archstone.observability import get_logger
from archstone.runtime import load_settings
from archstone.runtime.serve import run_loop, serve
from examples.hello.hello import hello

class View:
    log = sys.stdout

    async def show(self, embedded, url):
        if sys.argv[2] == "broken":
            raise KeyError("no paint")
        assert embedded.ready and url.startswith("http://127.0.0.1:")
        try:
            while True:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            get_logger("view").info("cancelled", ready=embedded.ready)
            raise

def ready(url):
    asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)

run_loop(serve(hello, Path(sys.argv[1]), load_settings({"port": 0}), view=View(), ready=ready))
"""


def served(data: Path, view: str) -> tuple[list[str], list[str]]:
    """Return the events that the view and stderr were told, in this order."""
    command = [sys.executable, "-c", PROGRAM, str(data), view]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told = [[json.loads(line)["event"] for line in text.splitlines()] for text in (done.stdout, done.stderr)]
    return told[0], told[1]


def test_a_view_has_the_log_and_is_shown_until_all_has_drained(tmp_path: Path) -> None:
    assert served(tmp_path / "data", "whole") == (["ready", "draining", "cancelled"], [])


def test_a_view_that_fails_takes_nothing_with_it(tmp_path: Path) -> None:
    shown, logged = served(tmp_path / "data", "broken")
    assert shown == ["ready"]
    assert logged == ["the view failed; the system runs on", "draining"]
