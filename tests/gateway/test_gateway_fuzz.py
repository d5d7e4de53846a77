"""schemathesis over a running gateway: no 5xx, nothing undocumented, nothing against the schemas."""

import asyncio
import socket
from pathlib import Path

import pytest
import uvicorn
from fuzzing import fuzz
from gateway_subject import Door

from archstone.gateway import Gateway

pytestmark = [pytest.mark.real_time, pytest.mark.slow, pytest.mark.longest]


async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = Door(Gateway(rate_limit=None)).app
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", loop="none", access_log=False))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        phases = ("--phases", "examples,coverage,fuzzing")
        counted = await asyncio.to_thread(fuzz, url, *phases, token="root-token", folder=tmp_path, seed=1, examples=200)
        server.should_exit = True
        await serving
    assert counted
