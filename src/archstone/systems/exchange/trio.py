"""A witness and two nodes on this machine, by one command, to try what an exchange on them is like.

    python -m archstone.systems.exchange.trio --data nodes

Prints where they listen and which process is which, starts again whoever ends, as a supervisor of yours would, and ends
all three on SIGTERM and SIGINT. Not for use in earnest: one machine and one disk keep what should be on two of them.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["main"]

_AGAIN_S: Final = 3.0
"""Seconds until one that ended is started again: long enough to see the other take over."""
_END_S: Final = 5.0
"""Seconds that each may take to end when it is told to."""
_MODULE: Final = "archstone.systems.exchange.node"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all three until they are stopped; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m archstone.systems.exchange.trio")
    parser.add_argument("--data", type=Path, required=True, help="folder for the three of them")
    parser.add_argument("--port", type=int, default=7100, help="of the witness; the nodes have the next two")
    chosen = parser.parse_args(arguments)
    asyncio.run(_run(chosen.data, chosen.port))
    return 0


async def _run(data: Path, port: int) -> None:
    stopped = asyncio.Event()
    for sent in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sent, stopped.set)
    witness, *nodes = (f"127.0.0.1:{port + place}" for place in range(3))
    options = {
        "witness": ["--role", "witness", "--listen", witness],
        "a": _node("leader", "a", nodes[0], nodes[1], witness),
        "b": _node("standby", "b", nodes[1], nodes[0], witness),
    }
    _say(f"archstone up exchange --set sequencer={','.join(nodes)}")
    kept = [asyncio.create_task(_keep(name, [*each, "--data", str(data / name)])) for name, each in options.items()]
    await stopped.wait()
    for task in kept:
        task.cancel()
    await asyncio.gather(*kept, return_exceptions=True)


def _node(role: str, name: str, listen: str, peer: str, witness: str) -> list[str]:
    return ["--role", role, "--name", name, "--listen", listen, "--peer", peer, "--witness", witness]


async def _keep(name: str, options: list[str]) -> None:
    """Run one of the three, again whenever it ends; cancelled, end it."""
    while True:
        # A group of its own: a Ctrl-C is for whoever started them, and they are told by a signal of ours.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _MODULE, *options, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        try:
            assert process.stdout is not None
            if (ready := (await process.stdout.readline()).decode().split())[:1] == ["ready"]:
                _say(f"{name} listens on {ready[1]}, process {process.pid}")
            code = await process.wait()
        finally:
            if process.returncode is None:
                await _end(process)
        _say(f"{name} has ended with {code}, and is started again")
        await asyncio.sleep(_AGAIN_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:  # it hangs, or was stopped to see what happens
        process.kill()
        await process.wait()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  it is a command


if __name__ == "__main__":
    sys.exit(main())
