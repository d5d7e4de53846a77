"""Services in processes of their own, and who calls them by a certificate."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from mtls_contract import Desk

from archstone.security.mtls import Identity
from archstone.services import client
from archstone.services.http import HttpTransport

HERE = Path(__file__).parent
DOMAIN = "shop.internal"


@contextmanager
def serving(folder: Path, *callers: str, child: str = "mtls_child.py") -> Iterator[int]:
    """Run a service in another process, `desk` if no other; give its port."""
    command = [sys.executable, str(HERE / child), str(folder), *callers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = process.stdout.readline()
        assert told, process.stderr.read()
        try:
            yield int(told)
        finally:
            process.kill()


@asynccontextmanager
async def calling(port: int, folder: Path, service: str = "desk") -> AsyncIterator[Desk]:
    identity = Identity(folder, domain=DOMAIN)
    async with HttpTransport(f"https://127.0.0.1:{port}", tls=identity.calling(service), timeout_s=5) as transport:
        yield client(Desk, transport)
