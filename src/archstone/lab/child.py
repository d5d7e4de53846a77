"""Runs a surge in a process of its own and passes on what happens."""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any, Final

import orjson

from archstone.lab.http import LabError
from archstone.lab.surge import SurgeSettings

__all__ = ["run_in_child"]

_LINE_BYTES: Final = 256 * 1024 * 1024


async def run_in_child(settings: SurgeSettings, tell: Callable[[str, Any], None]) -> dict[str, Any]:
    """Run the surge and return its report. Cancelled, it ends the process; the system under load stays as it is.

    Args:
        settings: What to send, and where.
        tell: Takes what happens: `phase`, `note` and `progress`, with what there is to say.

    Raises:
        LabError: it could not be run; the text says why.
    """
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "archstone.lab.surge", stdin=pipe, stdout=pipe, limit=_LINE_BYTES
    )
    assert child.stdin is not None  # both were asked for as pipes
    assert child.stdout is not None
    report: dict[str, Any] | None = None
    try:
        child.stdin.write(settings.model_dump_json().encode())
        child.stdin.close()
        while line := await child.stdout.readline():
            [(name, what)] = orjson.loads(line).items()
            if name == "error":
                raise LabError(what)
            if name == "report":
                report = what
            else:
                tell(name, what)
        await child.wait()
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if report is None:
        raise LabError(f"the surge ended with {child.returncode} and without a report; its last words are above")
    return report
