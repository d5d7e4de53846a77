"""Orders that are cancelled together, also since nobody is there any more who could."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from archstone.errors import RejectedError
from archstone.observability import get_logger
from archstone.systems.exchange.entry.reports import Reports
from archstone.systems.exchange.matching import Command, Commands, Kind, rows_of
from archstone.systems.exchange.sequencer import Sequencer

__all__ = ["cancel_all", "cancels"]

_log: Final = get_logger("archstone.systems.exchange")
_AGAIN_S: Final = 0.2
_TOGETHER: Final = 4_096
"""Books of one `submit` at most: a sequencer bounds its frames."""


def cancels(account: int, books: Sequence[int], *, side: int = 0) -> Commands:
    """Return commands that cancel all orders of an account in these books, or those of one side."""
    rows = rows_of(Command(Kind.MASS_CANCEL, account=account, side=side) for _ in books)
    rows["book"] = books
    return rows


async def cancel_all(
    sequencer: Sequencer, reports: Reports, account: int, *, given_up: Callable[[], bool] = lambda: False
) -> None:
    """Cancel all orders of an account in every book, as soon as the exchange takes that, or until it is given up."""
    books = sorted(reports.books)
    while books and not given_up():
        try:
            await sequencer.submit(cancels(account, books[:_TOGETHER]))
        except RejectedError as error:
            await asyncio.sleep(max(error.retry_after_s, 0.01))
        except Exception as error:  # noqa: BLE001 - a mass cancel may be done twice
            _log.warning("orders of a lost connection are not cancelled yet", account=account, error=error)
            await asyncio.sleep(_AGAIN_S)
        else:
            del books[:_TOGETHER]
