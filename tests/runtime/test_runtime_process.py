"""A whole process: who may run on a folder, how fast it is ready, how much memory it takes, and how it ends."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from shop_http import Person, new_person, served_shop, skus
from shop_process import PASSWORD, ShopProcess, free_port

from archstone.systems.shop import invariants

READY_S = 2.0
LOADED_S = 0.3
"""Work of an ordinary machine for loading some modules; measured 0.15 s on a fast one, 0.5 s on a slow one."""
RESIDENT_MB = 200


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    with served_shop(tmp_path_factory.mktemp("process") / "shop", cold=True) as shop:
        yield shop


def up(data: Path, port: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archstone.cli", "up", "shop", "--data", str(data), "--port", str(port), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of a refusal."""
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("words", [(), ("--fresh",)])
def test_a_second_up_is_refused_by_name_and_process_id(shop: ShopProcess, words: tuple[str, ...]) -> None:
    assert shop.process is not None
    for port in (free_port(), shop.port):  # also where both want one port: the folder is what matters
        line = refused(up(shop.data, port, *words))
        assert f"is in use by system 'shop', process {shop.process.pid}" in line
    assert httpx.get(f"{shop.url}/health/ready").status_code == 200


def test_a_port_in_use_is_told_with_the_way_out(shop: ShopProcess, tmp_path: Path) -> None:
    line = refused(up(tmp_path / "other", shop.port))
    assert f"cannot listen on 127.0.0.1:{shop.port} (Address already in use)" in line
    assert "--port" in line
    assert not (tmp_path / "other").exists()


def test_the_control_socket_and_all_that_is_secret_belong_to_the_owner_alone(shop: ShopProcess) -> None:
    for name in ("control.sock", "keys.json", "owner"):
        assert stat.S_IMODE((shop.data / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(shop.data.stat().st_mode) == 0o700


def test_whatever_a_shop_writes_is_for_its_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "shop"
    data.mkdir()
    data.chmod(0o755)
    (data / "lost+found").mkdir(0o700)  # a folder with something in it is not given tables that a test has made
    with served_shop(data):
        open_to_others = [str(path) for path in [data, *data.rglob("*")] if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == []


@pytest.mark.parametrize(("trusted", "believed"), [("", False), ("10.0.0.0/8", False), ("10.0.0.1, 127.0.0.1", True)])
def test_only_a_trusted_proxy_says_for_whom_it_asks(tmp_path: Path, trusted: str, believed: bool) -> None:
    settings = {"RATE_LIMIT_PER_S": "0.5"} | ({"TRUSTED_PROXIES": trusted} if trusted else {})
    with served_shop(tmp_path / "shop", **settings) as shop, httpx.Client(base_url=shop.url) as http:
        told = [
            http.get("/api/v1/categories", headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code
            for number in range(10)
        ]
    assert (429 not in told) is believed, told


def test_a_busy_shop_stays_under_two_hundred_megabytes(shop: ShopProcess) -> None:
    with httpx.Client(base_url=shop.url, timeout=30) as http:
        people = [new_person(http) for _ in range(4)]
        names = skus(http, 20)

        def busy(person: Person) -> None:
            for number in range(60):
                person.buy((names[number % 20], 1))
                http.get("/api/v1/products", params={"search": "a", "limit": 100})

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(busy, people))
    assert shop.process is not None
    resident_mb = resident(shop.process.pid)
    print(f"resident: {resident_mb:.0f} MB")
    assert resident_mb < RESIDENT_MB


def resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def test_a_second_start_is_ready_within_two_seconds(tmp_path: Path) -> None:
    """By the clock in the best of three; on a machine with more to do than it has cores, by its own work alone."""
    shop = ShopProcess(tmp_path / "shop", cold=True)
    starts: list[tuple[float, float]] = []
    try:
        first_s = asyncio.run(shop.start())
        assert shop.stop() == 0
        limit_s = READY_S * slowness()
        while len(starts) < 3 and not (starts and min(starts)[0] < limit_s):
            clock_s = asyncio.run(shop.start())
            assert shop.process is not None
            starts.append((clock_s, worked_s(shop.process.pid)))
            assert shop.stop() == 0
    finally:
        shop.kill()
    told = ", ".join(f"{clock_s:.2f} s ({work_s:.2f} s of work)" for clock_s, work_s in starts)
    print(f"ready: first start {first_s:.2f} s, second {told}, of {limit_s:.2f} s")
    assert min(work_s for _, work_s in starts) < limit_s, told
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    assert busy or min(starts)[0] < limit_s, told


def slowness() -> float:
    """Return how many times slower than an ordinary machine this one loads what every server loads; at least 1.

    Most of a start is Python loading modules, so an interpreter that loads a few of others is the measure.
    """
    loads = [sys.executable, "-c", "import asyncio, pydantic, uvicorn, typer, jinja2, cryptography.x509"]
    worked: list[float] = []
    for _ in range(3):
        before = os.times()
        subprocess.run(loads, check=True, timeout=60)
        after = os.times()
        worked.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return max(1.0, min(worked) / LOADED_S)


def worked_s(pid: int) -> float:
    """Return the processor time that a process has had, which no other process makes longer; 0 without /proc."""
    status = Path(f"/proc/{pid}/stat")
    if not status.exists():
        return 0.0
    fields = status.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_fresh_begins_anew(tmp_path: Path) -> None:
    with served_shop(tmp_path / "shop") as shop, httpx.Client(base_url=shop.url) as http:
        person = new_person(http)
    shop.options = {}
    command = [sys.executable, "-m", "archstone.cli", "up", "shop", "--data", str(shop.data), "--fresh", "--port"]
    with subprocess.Popen([*command, str(shop.port)], stderr=subprocess.PIPE) as process:
        try:
            wait_ready(shop.url)
            body = {"email": person.email, "password": PASSWORD}
            assert httpx.post(f"{shop.url}/api/v1/sessions", json=body).status_code == 401, "the old users are there"
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert process.stderr is not None
            process.stderr.read()


def wait_ready(url: str) -> None:
    end = time.perf_counter() + 120
    while True:
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            assert time.perf_counter() < end, "never ready"
        time.sleep(0.02)


def test_requests_in_flight_are_answered_when_the_process_is_asked_to_end(tmp_path: Path) -> None:
    shop = ShopProcess(tmp_path / "shop")
    try:
        asyncio.run(shop.start())
        with httpx.Client(base_url=shop.url, timeout=30) as http:
            person = new_person(http)
            pending = person.buy((skus(http, 1)[0], 1), token="tok_timeout")
        in_flight = [Registration(shop.port, f"late{number}@example.org") for number in range(8)]
        assert shop.process is not None
        shop.process.send_signal(signal.SIGTERM)
        wait_closed(shop.port)
        assert [each.finish() for each in in_flight] == [b"201"] * 8
        assert shop.process.wait(30) == 0, shop.log_tail()
        assert '"level":"error"' not in shop.log.read_text(), shop.log_tail()
        asyncio.run(shop.start())
        with httpx.Client(base_url=shop.url, timeout=30) as http:
            Person(http, "late7@example.org").sign_in()
            person.http = http
            assert person.settled(pending)["status"] == "confirmed", "what was not finished goes on at the next start"
        assert shop.stop() == 0
    finally:
        shop.kill()


class Registration:
    """A request whose head the server has read, as its `100 Continue` says, and whose body is yet to come."""

    def __init__(self, port: int, email: str) -> None:
        self.body = json.dumps({"email": email, "password": PASSWORD, "name": "x"}).encode()
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        head = "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        self.connection.sendall(f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode())
        assert self.connection.recv(1000).startswith(b"HTTP/1.1 100 ")

    def finish(self) -> bytes:
        """Send the body and return the status of the answer."""
        with self.connection as connection:
            connection.sendall(self.body)
            return connection.recv(65_536)[9:12]


def wait_closed(port: int) -> None:
    end = time.perf_counter() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        except ConnectionRefusedError:
            return
        assert time.perf_counter() < end, "it goes on listening"
        time.sleep(0.02)


def test_an_order_killed_in_the_middle_ends_after_the_next_start(tmp_path: Path) -> None:
    shop = ShopProcess(tmp_path / "shop", cold=True)
    try:
        asyncio.run(shop.start())
        with httpx.Client(base_url=shop.url, timeout=30) as http:
            person = new_person(http)
            order_id = person.buy((skus(http, 1)[0], 1), token="tok_timeout")
        shop.kill()
        asyncio.run(shop.start())
        with httpx.Client(base_url=shop.url, timeout=30) as http:
            person.http = http
            assert person.settled(order_id)["status"] == "confirmed"
        trace = shop.command("trace", "shop", order_id)
        assert trace.returncode == 0, trace.stderr
        assert "step partners.take_money" in trace.stdout
        assert trace.stdout.count("trace ") == 1, "the checkout is one trace, also after a crash"
        assert shop.stop() == 0
    finally:
        shop.kill()


def test_of_two_that_start_together_one_runs(tmp_path: Path) -> None:
    shop = ShopProcess(tmp_path / "shop")
    other = ShopProcess(tmp_path / "shop", port=shop.port)
    try:
        shop.spawn()
        other.spawn()
        wait_ready(shop.url)
        assert shop.process is not None
        assert other.process is not None
        end = time.perf_counter() + 120
        while shop.process.poll() is None and other.process.poll() is None:
            assert time.perf_counter() < end, "both run"
            time.sleep(0.02)
        codes = {shop.process.poll(), other.process.poll()}
        assert codes == {None, 2}, shop.log_tail()
        assert "Traceback" not in shop.log.read_text()
    finally:
        shop.kill()
        other.kill()
    assert invariants.check(tmp_path / "shop") == []


def test_log_lines_are_json_where_nobody_looks(shop: ShopProcess) -> None:
    lines = [json.loads(line) for line in shop.log.read_text().splitlines()]
    assert lines[0]["event"] == "ready"
    assert {"timestamp", "level", "logger", "event"} <= set(lines[0])
