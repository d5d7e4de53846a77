"""Run contenders, each in a process of its own, and compare their medians.

    bench = Bench("observe", shows="what a span costs", hides="what writing it costs")

    @bench.contender("opentelemetry-sdk")                    # distributions whose versions are printed
    def opentelemetry(quick: bool) -> float: ...             # one figure, in the row's unit

    bench.row(Row("span recorded", "ns/span", goal=9.0), ours="archstone", peers=["opentelemetry"])

    if __name__ == "__main__":
        bench.main()

A script prints a table for people and then one JSON line per row. `--quick` measures the same with fewer
repeats, `--contender NAME` runs one contender in this process, `--save` keeps the output in `benchmarks/results/`.
Rounds alternate between the contenders, so that a machine that slows down slows all of them.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROUNDS, QUICK_ROUNDS = 5, 1
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison."""

    name: str
    unit: str
    goal: float | None
    """With peers: how many times better than the best of them. Without: the figure itself to reach. None: a comparison
    for those who choose between two, without a goal."""
    bigger_is_better: bool = False
    """True for rates, False for times."""
    of: str | None = None
    """Which of the details is compared, where a contender measures more than one figure. None: its figure."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with what belongs beside it: p50, p99, fsync mode."""

    figure: float
    details: dict[str, object] = field(default_factory=dict)


Contender = Callable[[bool], "float | Measured"]


@dataclass(slots=True)
class Runs:
    """What the processes of one contender said."""

    said: list[dict] = field(default_factory=list)
    absent: str | None = None

    def figures(self, of: str | None = None) -> list[float]:
        """Return a figure of each process: the one that it measured, or one of its details."""
        return [said["figure"] if of is None else said["details"][of] for said in self.said]

    def said_of(self, of: str | None) -> str | None:
        """Return the name of a detail if it was said, None otherwise."""
        return of if self.said and of in self.said[-1]["details"] else None

    def median(self, of: str | None = None) -> float | None:
        return statistics.median(self.figures(of)) if self.said else None


class Bench:
    """The contenders and rows of one script."""

    def __init__(self, name: str, *, shows: str, hides: str) -> None:
        self.name, self.shows, self.hides = name, shows, hides
        self._contenders: dict[str, tuple[Contender, tuple[str, ...]]] = {}
        self._rows: list[tuple[Row, str, Sequence[str], Sequence[str]]] = []

    def contender(self, *distributions: str) -> Callable[[Contender], Contender]:
        """Register a function by its name. It returns one figure; it may raise ImportError: then it is absent."""

        def register(function: Contender) -> Contender:
            self._contenders[function.__name__] = (function, distributions)
            return function

        return register

    def row(self, row: Row, *, ours: str, peers: Sequence[str] = (), beside: Sequence[str] = ()) -> None:
        """Compare contender `ours` with the best of `peers`. Those `beside` are only shown: a floor, a variant."""
        for name in (ours, *peers, *beside):
            if name not in self._contenders:
                raise LookupError(f"row {row.name!r} names the contender {name!r}, which is not registered")
        self._rows.append((row, ours, peers, beside))

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run what the command line asks for."""
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.shows)
        parser.add_argument("--quick", action="store_true", help="fewer repeats: a smoke test, ends within 50 s")
        parser.add_argument("--contender", metavar="NAME", choices=sorted(self._contenders), help="run this one here")
        parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"processes of each contender, default {ROUNDS}")
        parser.add_argument("--save", action="store_true", help="keep the output in benchmarks/results/")
        chosen = parser.parse_args(arguments)
        if chosen.contender:
            print(json.dumps(self._run_here(chosen.contender, quick=chosen.quick)))
            return
        rounds = QUICK_ROUNDS if chosen.quick else chosen.rounds
        runs = self._run_all(rounds, quick=chosen.quick)
        text = self._report(runs, "quick, a smoke test" if chosen.quick else f"medians of {rounds} processes each")
        print(text)
        if chosen.save:
            results = ROOT / "benchmarks" / "results"
            results.mkdir(exist_ok=True)
            (results / f"{self.name}.txt").write_text(text + "\n")

    def _run_here(self, name: str, *, quick: bool) -> dict:
        contender, distributions = self._contenders[name]
        try:
            measured = contender(quick)
        except ImportError as error:
            return {"absent": str(error)}
        if not isinstance(measured, Measured):
            measured = Measured(measured)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)
        versions = {name: _version(name) for name in distributions}
        return {"figure": measured.figure, "details": measured.details, "mb": round(peak), "versions": versions}

    def _run_all(self, rounds: int, *, quick: bool) -> dict[str, Runs]:
        names = list(dict.fromkeys(n for _, ours, peers, beside in self._rows for n in (ours, *peers, *beside)))
        runs = {name: Runs() for name in names}
        for _ in range(rounds):
            for name in names:
                if runs[name].absent is None:
                    self._run_once(name, runs[name], quick=quick)
        return runs

    def _run_once(self, name: str, runs: Runs, *, quick: bool) -> None:
        command = [sys.executable, "-m", f"benchmarks.{self.name}", "--contender", name, *(["--quick"] * quick)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise RuntimeError(f"contender {name!r} failed:\n{done.stderr}")
        said = json.loads(done.stdout.splitlines()[-1])
        if "absent" in said:
            runs.absent = said["absent"]
        else:
            runs.said.append(said)

    def _report(self, runs: dict[str, Runs], kind: str) -> str:
        lines = [f"{self.name}: {self.shows}", f"Does not show: {self.hides}", machine(), f"({kind})", ""]
        rows = []
        for row, ours, peers, beside in self._rows:
            lines.append(f"{row.name}  [{row.unit}]")
            lines += [_line(name, runs[name], row.of) for name in (ours, *peers)]
            lines += [_line(name, runs[name], runs[name].said_of(row.of)) + "  (beside)" for name in beside]
            rows.append(_compared(row, ours, peers, runs, self._contenders))
            lines += [_verdict(rows[-1]), ""]
        return "\n".join([*lines, *(json.dumps(one) for one in rows)])


def nanoseconds_per_call(run: Callable[[int], object], *, quick: bool) -> float:
    """Return the time of one of the `n` calls that `run(n)` makes, `n` chosen so that a run lasts: the best run.

    Time of the processor, of all threads of this process: for calls that wait for nothing, what else the machine does
    must not count, and it can only add. Many short runs: on a shared machine some of them meet it undisturbed.
    """
    wanted_s, calls = 0.03, 100
    while (took := _seconds(run, calls)) < wanted_s / 4:
        calls *= 4
    calls = max(1, int(calls * wanted_s / took))
    return min(_seconds(run, calls) for _ in range(5 if quick else 50)) / calls * 1e9


def machine() -> str:
    """Return one line that says where and when this ran."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    today = datetime.now(UTC).date().isoformat()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, CPython {platform.python_version()}, {today}"


def room() -> Path:
    """Return a folder on the disk of the checkout for what a run writes: a temporary one may be kept in memory."""
    room = ROOT / ".archstone" / "bench"
    room.mkdir(parents=True, exist_ok=True)
    return room


def _seconds(run: Callable[[int], object], calls: int) -> float:
    begin = time.process_time()
    run(calls)
    return time.process_time() - begin


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "?"


def _named(name: str, versions: dict[str, str]) -> str:
    return ", ".join(f"{one} {number}" for one, number in versions.items()) or name


def _line(name: str, runs: Runs, of: str | None) -> str:
    if runs.absent is not None:
        return f"  {name:<28} absent: {runs.absent} (pip install 'archstone[bench]')"
    figures, last = runs.figures(of), runs.said[-1]
    spread = f"{min(figures):,.5g} to {max(figures):,.5g}"
    details = " ".join(f"{key}={value}" for key, value in last["details"].items())
    versions = _named("", last["versions"])
    return f"  {name:<28} {runs.median(of):>12,.5g}  ({spread})  {last['mb']} MB  {versions}  {details}".rstrip()


def _compared(row: Row, ours: str, peers: Sequence[str], runs: dict[str, Runs], known: dict) -> dict:
    figure = runs[ours].median(row.of)
    present = {name: runs[name].median(row.of) for name in peers if runs[name].said}
    best = (max if row.bigger_is_better else min)(present, key=present.__getitem__) if present else None
    against = present[best] if best else row.goal if not peers else None
    ratio = None
    if figure and against:
        ratio = figure / against if row.bigger_is_better else against / figure
    return {
        "row": row.name,
        "ours": _short(figure),
        "best_peer": _short(present[best]) if best else None,
        "peer": _named(best, runs[best].said[-1]["versions"]) if best else None,
        "unit": row.unit,
        "ratio": _short(ratio),
        "goal": row.goal if peers or row.goal is None else 1.0,
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _verdict(row: dict) -> str:
    if row["ratio"] is None:
        return "  -> not compared"
    what = f"{row['ratio']:g} times {row['peer']}" if row["peer"] else f"{row['ratio']:g} of the figure to reach"
    if row["goal"] is None:
        return f"  -> {what}"
    return f"  -> {what}; goal {row['goal']:g}: {'reached' if row['ratio'] >= row['goal'] else 'NOT reached'}"
