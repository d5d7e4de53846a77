"""The whole shop: durable checkouts over HTTP, POST to confirmed, open loop, on the machine that makes the load."""

import asyncio
import os
import statistics
import tempfile
import time

from benchmarks.harness import Bench, Measured, Row, room
from benchmarks.shop_load import Load, open_loop, running_shop

bench = Bench(
    "shop",
    shows="checkouts from POST to confirmed: gateway, saga over four services, bank, events, e-mail, all durable",
    hides="a network, other machines, reads, a catalogue of a real size; no peer has such a path to compare",
)
UNLIMITED = {"ARCHSTONE_RATE_LIMIT_PER_S": "100000"}


def run(per_s: float, *, quick: bool) -> Load:
    with running_shop(**UNLIMITED) as port:
        asyncio.run(open_loop(port, per_s=min(per_s, 50), for_s=2))  # warm
        return asyncio.run(open_loop(port, per_s=per_s, for_s=4 if quick else 15))


def details(load: Load) -> dict[str, object]:
    per_s = load.confirmed / load.took_s
    figures = {f"p{ratio}_ms": round(load.quantile_ms(ratio / 100), 1) for ratio in (50, 95, 99)}
    return {"confirmed_per_s": round(per_s), "failed": load.failed, **figures, **load.kinds}


@bench.contender("archstone", "uvicorn", "uvloop")
def at_50_per_s(quick: bool) -> Measured:
    load = run(50, quick=quick)
    return Measured(load.quantile_ms(0.5), details(load))


@bench.contender("archstone", "uvicorn", "uvloop")
def at_500_per_s(quick: bool) -> Measured:
    load = run(500, quick=quick)
    return Measured(load.quantile_ms(0.5), details(load))


@bench.contender("archstone", "uvicorn", "uvloop")
def confirmed_per_s(quick: bool) -> Measured:
    load = run(500, quick=quick)
    return Measured(load.confirmed / load.took_s, details(load))


@bench.contender()
def raw_fsync(quick: bool) -> Measured:
    """Milliseconds that one fdatasync of one appended page takes on this disk."""
    took = []
    with tempfile.TemporaryDirectory(dir=room()) as folder:
        file = os.open(f"{folder}/file", os.O_CREAT | os.O_WRONLY)
        for _ in range(100 if quick else 1000):
            begin = time.perf_counter()
            os.write(file, bytes(4096))
            os.fdatasync(file)
            took.append(time.perf_counter() - begin)
        os.close(file)
    took.sort()
    details = {
        f"p{name}_ms": round(took[int(len(took) * ratio)] * 1e3, 3) for name, ratio in ((99, 0.99), (999, 0.999))
    }
    return Measured(statistics.median(took) * 1e3, details)


bench.row(Row("checkout p50 at 50/s", "ms", goal=15), ours="at_50_per_s", beside=["raw_fsync"])
bench.row(Row("checkout p50 at 500/s", "ms", goal=100), ours="at_500_per_s")
bench.row(Row("checkouts confirmed per s of 500", "per s", goal=500, bigger_is_better=True), ours="confirmed_per_s")

if __name__ == "__main__":
    bench.main()
