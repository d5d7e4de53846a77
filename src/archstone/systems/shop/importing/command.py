"""What `archstone import shop catalog FILE` does: reads, shows how far it is, and tells what became of each record."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from archstone.errors import ConfigError
from archstone.runtime import Settings
from archstone.services import System
from archstone.systems.shop.catalog.importing import LoadedProduct
from archstone.systems.shop.importing.fields import FieldMap, FieldMapError
from archstone.systems.shop.importing.loading import ImportRefusedError, Report, load
from archstone.systems.shop.importing.products import Fault, ProductReader
from archstone.systems.shop.importing.reaching import catalog_of
from archstone.systems.shop.importing.records import Records, open_records

__all__ = ["ImportOptions", "Outcome", "run_import", "shown_faults"]

MAX_SHOWN: Final = 20
"""Faults that are printed."""
_DOING: Final = {
    "clearing": "clearing up after an import that died",
    "waiting": "waiting for another import",
    "stock": "telling the stock",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How a file is read, and what is done with it."""

    mapping: tuple[str, ...] = ()
    """Texts such as `name=title,price=final_price`."""
    currency: str = "EUR"
    """Of prices that name none; ISO 4217."""
    default_stock: int = 0
    """Pieces where a record names none. At least 0."""
    prefix: str = ""
    """Before SKUs that are made from ids. Empty: `ID`."""
    encoding: str | None = None
    """None: by the mark at the beginning of the file, else UTF-8."""
    rows_at: str | None = None
    """Dotted path of the array in a JSON object. None: the only array of objects."""
    dry_run: bool = False
    """Read and judge, and change nothing."""
    strict: bool = False
    """Take nothing if any record is faulty."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: all faults at once.
        """
        faults: list[str] = []
        if not (len(self.currency) == 3 and self.currency.isascii() and self.currency.isupper()):
            faults.append(f"--currency {self.currency!r}: write a code of three capitals, such as EUR")
        if not 0 <= self.default_stock <= 1_000_000:
            faults.append(f"--stock {self.default_stock}: in [0, 1000000]")
        if len(self.prefix) > 8 or not self.prefix.replace("-", "a").isascii() or " " in self.prefix:
            faults.append(f"--prefix {self.prefix!r}: at most 8 letters, digits and hyphens")
        if faults:
            raise ConfigError("; ".join(faults))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file."""

    report: Report
    products: int
    """Records that are products, whether they were taken or only read."""
    runs: bool
    """Whether the shop runs. While it does not, stock is booked at its next start."""
    dry_run: bool = False

    def told(self) -> str:
        """Return it as a line for people."""
        report = self.report
        taken = f"{report.added} added, {report.changed} changed, {report.unchanged} as they were"
        if self.dry_run:
            return f"{self.products} products read, {report.faulty} faulty; nothing was changed"
        when = "" if self.runs or not report.good else "; stock is booked when the system runs"
        return f"{taken}, {report.faulty} faulty and left out{when}"

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        report = self.report
        return {
            "products": self.products,
            "added": report.added,
            "changed": report.changed,
            "unchanged": report.unchanged,
            "faulty": report.faulty,
            "faults": [fault._asdict() for fault in report.faults],
            "stock_booked": "soon" if self.runs else "at the next start",
        }


async def run_import(
    system: System,
    folder: Path,
    file: Path,
    options: ImportOptions,
    *,
    settings: Callable[[], Settings],
    console: Console,
) -> Outcome:
    """Import `file` into the catalog of `system` on `folder`: all its good records, or nothing.

    Args:
        console: Where the progress bar goes. Without a terminal there is none.

    Raises:
        FileUnreadableError, FieldMapError, ImportRefusedError: nothing of the file is taken; the text says why.
        ControlError: the running shop refused, failed or ended; before the switch nothing of the file is seen.
    """
    reader = ProductReader(
        FieldMap.parse(options.mapping),
        currency=options.currency,
        default_stock=options.default_stock,
        prefix=options.prefix,
    )

    def judge(report: Report) -> None:
        report.fields = reader.named
        if reader.missing:
            named, has = ", ".join(sorted(reader.missing)), ", ".join(reader.named)
            what = f"no record of {file.name} has what is named for {named}; the first has the fields {has}"
            raise FieldMapError(f"--map: {what}; nothing was imported")
        if options.strict and report.faulty:
            first = report.faults[0]
            what = f"{report.faulty} records are faulty, the first on line {first.line}: {first.reason}"
            raise ImportRefusedError(what)

    with open_records(file, encoding=options.encoding, rows_at=options.rows_at) as records:
        found = map(reader.read, records)
        with _bar(console, records) as progress:
            if options.dry_run:
                return _only_read(found, progress, judge)
            async with catalog_of(system, folder, settings) as (catalog, runs):
                report = await load(catalog, found, source=file.name, progress=progress, judge=judge)
                return Outcome(report, report.good, runs)


def _only_read(
    found: Iterable[LoadedProduct | Fault], progress: Callable[[str, int], None], judge: Callable[[Report], None]
) -> Outcome:
    report, products = Report(), 0
    for read, each in enumerate(found, 1):
        if isinstance(each, Fault):
            report.note(each)
        else:
            products += 1
        if read % 100 == 0:
            progress("reading", read)
    judge(report)
    return Outcome(report, products, runs=False, dry_run=True)


def shown_faults(outcome: Outcome) -> list[dict[str, object]]:
    """Return the first faults as rows of a table, and a last one that says how many more there are."""
    report = outcome.report
    rows: list[dict[str, object]] = [
        {"line": fault.line, "left out because": fault.reason} for fault in report.faults[:MAX_SHOWN]
    ]
    if (more := report.faulty - len(rows)) > 0:
        rows.append({"line": "...", "left out because": f"and {more} more; --json has the first thousand"})
    return rows


@contextmanager
def _bar(console: Console, records: Records) -> Generator[Callable[[str, int], None]]:
    """Show how far the file is read, and what comes before and after."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"reading {records.name}", total=records.size_bytes, count="")
        most: dict[str, int] = {}

        def progress(phase: str, number: int) -> None:
            if phase == "reading":
                total, done, count = records.size_bytes, records.read_bytes, f"{number} records"
            else:
                total = most[phase] = max(most.get(phase, 1), number)
                done, count = total - number, f"{number} left"
            what = _DOING.get(phase) or f"reading {records.name}"
            bar.update(task, description=what, total=total, completed=done, count=count)

        yield progress
