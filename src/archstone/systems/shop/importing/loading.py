"""Sends what a file holds to the catalog, batch by batch, and then has it shown.

It talks to `CatalogImport` and does not know whether that is in this process or behind a socket. Until the switch
nothing is seen; whoever stops before it, by an error, a signal or a kill, has changed nothing that anybody sees.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from archstone.errors import ArchstoneError, InvalidError
from archstone.systems.shop.catalog.importing import CatalogImport, ImportBusyError, ImportState, LoadedProduct
from archstone.systems.shop.importing.products import Fault

__all__ = ["BATCH", "ImportRefusedError", "Report", "load"]

BATCH: Final = 25
"""Rows in one call: a few milliseconds of work for a shop that serves others meanwhile."""
PATIENCE_S: Final = 12
"""Seconds to wait for another import: a little longer than one that died counts as alive."""
MAX_FAULTS: Final = 1_000
"""Faults that are kept to be told; the others are counted."""
MAX_ROWS: Final = 1_000_000


class ImportRefusedError(InvalidError, code="shop.import-refused"):
    """The file was read, and for what it holds nothing of it is taken. Nothing was changed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}; nothing was imported"


@dataclass(slots=True)
class Report:
    """What became of a file. Counts are of its records."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    faulty: int = 0
    faults: list[Fault] = field(default_factory=list[Fault])
    """The first thousand of them."""
    fields: tuple[str, ...] = ()
    """What the first record names, for whoever has to map it."""

    @property
    def good(self) -> int:
        """Records that are products."""
        return self.added + self.changed + self.unchanged

    def note(self, fault: Fault) -> None:
        """Count a fault, and keep it if there is room."""
        self.faulty += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)


Progress = Callable[[str, int], None]
"""Told a phase (`waiting`, `clearing`, `reading`, `stock`) and a number: seconds or pieces left, or records read."""


async def load(
    imports: CatalogImport,
    found: Iterable[LoadedProduct | Fault],
    *,
    source: str,
    progress: Progress,
    judge: Callable[[Report], None],
) -> Report:
    """Bring products into the catalog, all of them or none, and return what became of the records.

    Args:
        imports: The catalog.
        found: Products and faults, in the order of the file.
        source: What is imported, for those who look.
        progress: Called between the batches.
        judge: Called when all has been sent and nothing is seen yet; what it raises gives the import up.

    Raises:
        ImportRefusedError: there is no product in it, or more than a million records.
        ImportBusyError, ControlError: another import is under way, and goes on for longer than it takes to know that
            it has not died.
    """
    state = await _begin(imports, source, progress)
    try:
        report = await _send(imports, state.number, found, progress)
        judge(report)
        _refuse_empty(report)
        state = await imports.finish(state.number, report.good)
    except BaseException:
        await _give_up(imports, state.number)
        raise
    while state.phase != "done":
        progress("stock", state.left)
        state = await imports.finish(state.number, report.good)
    return report


async def _begin(imports: CatalogImport, source: str, progress: Progress) -> ImportState:
    waited = 0
    while True:
        try:
            state = await imports.begin(source)
        except ArchstoneError as error:
            busy = ImportBusyError.code in {error.code, getattr(error, "cause_code", "")}
            if not busy or waited >= PATIENCE_S:
                raise
            waited += 1
            progress("waiting", PATIENCE_S - waited)
            await asyncio.sleep(1.0)
            continue
        if state.phase == "ready":
            return state
        progress("clearing", state.left)


def _refuse_empty(report: Report) -> None:
    if report.good:
        return
    if not report.faults:
        raise ImportRefusedError("there is no record in it")
    first = f"the first on line {report.faults[0].line}: {report.faults[0].reason}"
    named = f"; a record has the fields {', '.join(report.fields)}" if report.fields else ""
    raise ImportRefusedError(f"there is no product among {report.faulty} records, {first}{named}")


async def _send(
    imports: CatalogImport, number: int, found: Iterable[LoadedProduct | Fault], progress: Progress
) -> Report:
    report, batch = Report(), list[LoadedProduct]()
    for read, each in enumerate(found, 1):
        if read > MAX_ROWS:
            raise ImportRefusedError(f"it has more than {MAX_ROWS} records: split it")
        if isinstance(each, Fault):
            report.note(each)
        else:
            batch.append(each)
        if len(batch) == BATCH:
            await _stage(imports, number, batch, report)
            progress("reading", read)
    if batch:
        await _stage(imports, number, batch, report)
    return report


async def _stage(imports: CatalogImport, number: int, batch: list[LoadedProduct], report: Report) -> None:
    staged = await imports.stage(number, tuple(batch))
    batch.clear()
    report.added += staged.added
    report.changed += staged.changed
    report.unchanged += staged.unchanged


async def _give_up(imports: CatalogImport, number: int) -> None:
    """Tell the catalog, if it still answers; if not, it finds out by itself after ten seconds."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(2.0):
            await imports.discard(number)
