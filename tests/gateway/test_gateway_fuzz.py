"""schemathesis over a running gateway: no 5xx, nothing undocumented, nothing against the schemas."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest
import uvicorn
from gateway_subject import Door

from archstone.gateway import Gateway

pytestmark = [pytest.mark.real_time, pytest.mark.slow]


async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = Door(Gateway(rate_limit=None)).app
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", loop="none", access_log=False))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/openapi.json"
        fuzzer = await asyncio.create_subprocess_exec(
            Path(sys.executable).parent / "schemathesis", "run", url, "--header", "Authorization: Bearer root-token",
            "--checks", "all", "--max-examples", "200", "--phases", "examples,coverage,fuzzing", "--seed", "1",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        told, _ = await fuzzer.communicate()
        server.should_exit = True
        await serving
    assert fuzzer.returncode == 0, told.decode()[-4000:]
