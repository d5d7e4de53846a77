"""Write docs/benchmarks.md from benchmarks/results/: `python -m benchmarks.page`, after runs with `--save`."""

import json
from pathlib import Path

from benchmarks.harness import ROOT

ORDER = (
    "shop", "saga", "two_phase", "events", "queue", "cache", "cache_traces", "cache_redis", "services", "resilience",
    "tokens", "encryption", "permissions", "search", "observe", "matching", "journal", "exchange",
)  # fmt: skip
HEAD = """# Benchmarks

What these figures do **not** show: other machines (two cores of a virtual machine here; its disk syncs in tens of
microseconds, which favours whoever syncs most often), networks, long runs, large data, or your application. Peers do
less or more than what is measured here, each in its own way; the scripts say how each was set up. Absolute figures
move by 10 to 50 per cent between runs on a shared machine, so a goal is a **ratio** in one run, every contender in a
process of its own, medians of five processes or more. A ratio above 1 means that Archstone is better. Rows without a
peer are compared with a figure to reach.

Each table is made of the file in [benchmarks/results](../benchmarks/results) named above it, which also holds the
spread, the versions and the memory of each contender. To measure yourself: `make bench`, or
`python -m benchmarks.NAME`. Where the time of the small blocks goes: [what limits them](benchmarks-limits.md).
"""


def main() -> None:
    """Write the page."""
    sections = [HEAD, *(section(name) for name in ORDER if path_of(name).exists())]
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(sections))


def path_of(name: str) -> Path:
    return ROOT / "benchmarks" / "results" / f"{name}.txt"


def section(name: str) -> str:
    lines = path_of(name).read_text().splitlines()
    rows = [json.loads(line) for line in lines if line.startswith('{"row"')]
    head = [line for line in lines[:4] if line]
    table = ["| row | ours | best peer | ratio | goal | |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join(
        [
            f"## {name}",
            "",
            f"`python -m benchmarks.{name} --save`, [results/{name}.txt](../benchmarks/results/{name}.txt)",
            "",
            *(f"{line}\n" for line in head),
            *table,
            *(row_of(row) for row in rows),
            "",
        ]
    )


def row_of(row: dict) -> str:
    peer = f"{row['best_peer']:,} ({row['peer']})" if row["peer"] else "-"
    ours = "-" if row["ours"] is None else f"{row['ours']:,}"
    head = f"| {row['row']} | {ours} {row['unit']} | {peer} |"
    if row["ratio"] is None:  # there is nothing to compare it with
        return f"{head} - | - | |"
    head = f"{head} {row['ratio']} |"
    if row["goal"] is None:
        return f"{head} - | |"
    reached = "reached" if row["ratio"] >= row["goal"] else "**not reached**"
    return f"{head} {row['goal']} | {reached} |"


if __name__ == "__main__":
    main()
