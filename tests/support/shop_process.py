"""The shop, or another system, as a stranger runs it: a subprocess of the command line, driven over HTTP."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import warm

READY_S = 120.0
INSIST_S = 60.0
"""How long somebody insists on an answer."""
PASSWORD = "correct horse battery staple"
ADDRESS = {"name": "Ann Buyer", "street": "1 Long Street", "city": "Ghent", "postcode": "9000", "country": "BE"}


def free_port() -> int:
    """Return a port that nobody uses, and none that the system gives to clients: one of them could take it."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", secrets.choice(range(12_000, 32_000))))
            return int(probe.getsockname()[1])


@dataclass
class ShopProcess:
    """One data folder and the process that runs on it, which may be killed and started again."""

    data: Path
    port: int = field(default_factory=free_port)
    options: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    """Framework settings, by name in capitals: they go into the environment."""
    cold: bool = False
    """Whether each process begins with nothing imported, as that of a user does."""
    system: str = "shop"
    process: subprocess.Popen[bytes] | warm.Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data.with_name(f"{self.data.name}.log")

    def spawn(self, **environment: str) -> Self:
        sets = [f"--set={name}={value}" for name, value in self.options.items()]
        words = ["-m", "archstone.cli", "up", self.system, "--port", str(self.port), "--data", str(self.data), *sets]
        env = {**os.environ, **self._environment(), **environment}
        with self.log.open("ab") as log:
            if self.cold:
                command, nothing = [sys.executable, *words], subprocess.DEVNULL
                self.process = subprocess.Popen(command, env=env, stdin=nothing, stdout=log, stderr=log)
            else:
                self.process = warm.spawn(words, env=env, stdout=log, stderr=log)
        return self

    def _environment(self) -> dict[str, str]:
        given = {f"ARCHSTONE_{name}": value for name, value in self.settings.items()}
        # A server for tests may be another machine's, and has no certificate.
        return {"ARCHSTONE_PLAINTEXT": "anywhere", **given} if "DATABASE_URL" in self.settings else given

    async def start(self, **environment: str) -> float:
        """Start it and wait until it is ready; return the seconds that took."""
        begun = time.perf_counter()
        self.spawn(**environment)
        async with httpx.AsyncClient(base_url=self.url) as http:
            while time.perf_counter() - begun < READY_S:
                if self.process is not None and (code := self.process.poll()) is not None:
                    raise AssertionError(f"the shop ended with {code}:\n{self.log_tail()}")
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get("/health/ready")).status_code == 200:
                        return time.perf_counter() - begun
                await asyncio.sleep(0.02)
        raise AssertionError(f"the shop was not ready within {READY_S} s:\n{self.log_tail()}")

    def kill(self) -> None:
        """End it at once, as a power cut of the process does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """Ask it to end and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    async def exited(self) -> int:
        """Wait until it has ended by itself."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, 120)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def command(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run another verb of the command line on this data folder."""
        words = ("-m", "archstone.cli", *words, "--data", str(self.data))
        env = {**os.environ, **self._environment(), "COLUMNS": "200"}
        return warm.run(words, env=env, timeout_s=timeout_s)

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


@contextlib.asynccontextmanager
async def shop_process(data: Path, **options: str) -> AsyncIterator[ShopProcess]:
    shop = ShopProcess(data, options=options)
    try:
        await shop.start()
        yield shop
    finally:
        shop.kill()


class Buyer:
    """A signed-in customer who repeats what was not answered, with the same key, until it is."""

    def __init__(self, http: httpx.AsyncClient, email: str) -> None:
        self.http = http
        self.email = email
        self.user_id = ""
        self.headers: dict[str, str] = {}

    async def register(self) -> Self:
        body = {"email": self.email, "password": PASSWORD, "name": self.email.partition("@")[0]}
        answer = await self._insist("POST", "/api/v1/users", json=body)
        assert answer.status_code in {201, 409}, answer.text
        return await self.sign_in()

    async def sign_in(self) -> Self:
        answer = await self._insist("POST", "/api/v1/sessions", json={"email": self.email, "password": PASSWORD})
        assert answer.status_code in {200, 201}, answer.text
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        self.user_id = (await self._insist("GET", "/api/v1/users/me")).json()["id"]
        return self

    async def place(self, sku: str, *, token: str = "tok_ok", quantity: int = 1, key: str) -> httpx.Response:
        body = {"lines": [{"sku": sku, "quantity": quantity}], "address": ADDRESS, "payment_token": token}
        return await self._insist("POST", "/api/v1/orders", json=body, headers={"Idempotency-Key": key})

    async def order(self, order_id: str) -> dict[str, Any]:
        answer = await self._insist("GET", f"/api/v1/orders/{order_id}")
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content)

    async def settled(self, order_id: str, *, within_s: float = 60.0) -> dict[str, Any]:
        """Poll the order until it is confirmed or cancelled."""
        for pause_s in pauses(within_s):
            found = await self.order(order_id)
            if found["status"] != "pending":
                return found
            await asyncio.sleep(pause_s)
        raise AssertionError(f"order {order_id} is still pending after {within_s} s: {found}")

    async def _insist(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send until something other than a connection error, 409 still running, 429 or 5xx comes back."""
        headers = {**self.headers, **request.pop("headers", {})}
        for pause_s in pauses(INSIST_S):
            with contextlib.suppress(httpx.TransportError):
                answer = await self.http.request(method, path, headers=headers, **request)
                if not _worth_repeating(answer):
                    return answer
            await asyncio.sleep(pause_s)
        raise AssertionError(f"{method} {path} was not answered within {INSIST_S:g} s")


def pauses(within_s: float) -> Iterator[float]:
    """Yield how long to wait before asking again, seconds, until that many have passed.

    Ever longer, up to a limit: to be asked costs the very process that is waited for.
    """
    end, pause_s = time.perf_counter() + within_s, 0.03
    while time.perf_counter() < end:
        yield pause_s
        pause_s = min(pause_s * 1.5, 0.4)


def _worth_repeating(answer: httpx.Response) -> bool:
    if answer.status_code == 409:
        return "still-running" in answer.text
    return answer.status_code == 429 or answer.status_code >= 500
