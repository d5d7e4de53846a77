"""Orders from end to end: over loopback TCP to the exchange's binary server, sequenced, on disk, matched, answered.

Twenty accounts log on from one process and send orders (six of ten), cancels and replaces at random instants, whatever
comes back (an open loop): a figure is the time from when a request was due to its first report. The exchange is a
process of its own (`exchange_server`): risk checks and matching in C++, each frame synced to the disk before anything
of it is answered. `in two` has two nodes and a witness in further processes on the same disk: both must hold a frame.
`whole` is `archstone up exchange` without bots, whose one process also keeps the board, the ledger and surveillance.
`raw_fsync` is the wait for one appended page.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from archstone.systems.exchange.traffic import Mix
from benchmarks.exchange_load import Played, linked, play
from benchmarks.exchange_server import ACCOUNTS
from benchmarks.harness import Bench, Measured, Row, room
from benchmarks.running import free_port, running
from benchmarks.shop import raw_fsync

bench = Bench(
    "exchange",
    shows="orders over loopback TCP to acknowledged and durable, open loop, timed from when each was due",
    hides="a network, machines apart (clients, exchange, standby and witness share two cores and one disk), TLS, more "
    "than one book, hours of trading; no peer has such a path to compare",
)

P99_MS = 50.0
"""A rate is kept if so many milliseconds are not passed at p99, and all is answered."""
RATES = (1_000, 2_500, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 40_000, 60_000)
NAMES = [str(account) for account in range(1, ACCOUNTS + 1)]


@contextmanager
def process(module: str, *options: object) -> Iterator[subprocess.Popen]:
    """Run a module until the block ends."""
    command = [sys.executable, "-m", module, *map(str, options)]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as it:
        try:
            yield it
        except RuntimeError as error:
            log.seek(0)
            raise RuntimeError(f"{error}; {module} said: {log.read()[-1000:].decode()}") from error
        finally:
            it.terminate()


def ready(it: subprocess.Popen) -> str:
    """Return what a process says once it is ready."""
    said = it.stdout.readline().split()
    if not said:
        raise RuntimeError(f"{it.args[2]} ended with {it.wait()}")
    return said[-1].decode()


@contextmanager
def serving(*options: str) -> Iterator[int]:
    """Run the exchange as far as an order goes; give its port."""
    with (
        tempfile.TemporaryDirectory(dir=room()) as folder,
        process("benchmarks.exchange_server", "--data", f"{folder}/a", *options) as server,
    ):
        yield int(ready(server))


@contextmanager
def serving_in_two() -> Iterator[int]:
    node = "archstone.systems.exchange.node"
    witness, one, other = (f"127.0.0.1:{free_port()}" for _ in range(3))
    with (
        tempfile.TemporaryDirectory(dir=room()) as folder,
        process(node, "--role", "witness", "--data", f"{folder}/w", "--listen", witness) as third,
    ):
        ready(third)
        leads = ("--name", "a", "--data", f"{folder}/a", "--listen", one, "--peer", other, "--witness", witness)
        follows = ("--name", "b", "--data", f"{folder}/b", "--listen", other, "--peer", one, "--witness", witness)
        server = ("--data", f"{folder}/server", "--nodes", f"{one},{other}")
        with (
            process(node, "--role", "leader", *leads),
            process(node, "--role", "standby", *follows),
            process("benchmarks.exchange_server", *server) as front,
        ):
            yield int(ready(front))


def measured(port: int, per_s: float, *, quick: bool, names: Sequence[str] = NAMES, most_lots: int = 50) -> Measured:
    """Play a rate, after a moment at a tenth of it, and return p50 with all that belongs beside it."""
    played(port, per_s / 10, 0.3, names, most_lots=most_lots)
    what = played(port, per_s, 1.0 if quick else 8.0, names, most_lots=most_lots)
    return Measured(what.ms(0.5), what.details())


def played(port: int, per_s: float, for_s: float, names: Sequence[str] = NAMES, most_lots: int = 50) -> Played:
    with linked(port, names) as links:
        return play(links, per_s=per_s, for_s=for_s, mix=Mix(most_lots=most_lots))


@bench.contender("archstone-matching")
def at_10000(quick: bool) -> Measured:
    with serving() as port:
        return measured(port, 10_000, quick=quick)


@bench.contender("archstone-matching")
def at_1000(quick: bool) -> Measured:
    with serving() as port:
        return measured(port, 1_000, quick=quick)


@bench.contender("archstone-matching")
def highest(quick: bool) -> Measured:
    """The highest rate that is kept, between two of `RATES` to a sixteenth of their distance."""
    kept, details, over = 0.0, dict[str, object](), float(RATES[-1])
    with serving() as port:
        played(port, 1_000, 0.3)

        def is_kept(per_s: float) -> bool:
            nonlocal kept, details
            what = played(port, per_s, 0.5 if quick else 2.5)
            if what.is_kept(p99_ms=P99_MS):
                kept, details = per_s, what.details()
                return True
            return False

        for rate in RATES[::3] if quick else RATES:
            if not is_kept(rate):
                over = rate
                break
        for _ in range(0 if quick else 4):
            middle = (kept + over) / 2
            over = over if is_kept(middle) else middle
    return Measured(kept, details)


@bench.contender("archstone-matching")
def in_two(quick: bool) -> Measured:
    with serving_in_two() as port:
        return measured(port, 10_000, quick=quick)


@bench.contender("archstone-matching")
def in_two_at_1000(quick: bool) -> Measured:
    with serving_in_two() as port:
        return measured(port, 1_000, quick=quick)


@bench.contender("archstone")
def venue_in_python(quick: bool) -> Measured:
    with serving("--venue", "python") as port:
        return measured(port, 1_000, quick=quick)


@bench.contender("archstone", "uvicorn")
def whole(quick: bool) -> Measured:
    binary = free_port()
    with running("exchange", "--set", "bots=off", "--set", f"binary=127.0.0.1:{binary}") as (port, _):
        keys = [key_of_new_account(f"http://127.0.0.1:{port}/api/v1") for _ in range(ACCOUNTS)]
        return measured(binary, 500, quick=quick, names=keys, most_lots=5)


def key_of_new_account(api: str) -> str:
    token = asked(f"{api}/trial", {})["access_token"]
    return asked(f"{api}/keys", {"name": "bench"}, Authorization=f"Bearer {token}")["text"]


def asked(url: str, body: dict, **headers: str) -> dict:
    headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in {429, 503}:
                raise
            time.sleep(0.1)
    raise RuntimeError(f"{url}: too busy for ten seconds")


bench.contender()(raw_fsync)

for name, ours, beside in (
    ("answered at 10,000/s", "at_10000", ["raw_fsync"]),
    ("answered at 1,000/s", "at_1000", ["raw_fsync"]),
    ("in two at 10,000/s", "in_two", []),
    ("in two at 1,000/s", "in_two_at_1000", []),
    ("venue in Python at 1,000/s", "venue_in_python", []),
    ("the whole exchange at 500/s", "whole", []),
):
    for percentile in ("p50", "p99", "p999"):
        bench.row(Row(f"{name}, {percentile}", "ms", goal=None, of=f"{percentile}_ms"), ours=ours, beside=beside)
bench.row(
    Row(f"highest rate with p99 under {P99_MS:g} ms", "requests/s", goal=None, bigger_is_better=True), ours="highest"
)

if __name__ == "__main__":
    bench.main()
