"""History: trades and what happened to orders, as Parquet files that anybody can read, by day and symbol.

    Archive             writes the files; a `Reader` of the stream
    HistoryService      runs it as long as the system does, and lists the files
    Shelf               its archive, or none where history is off
    TRADES, EVENTS      what is in the columns

Needs pyarrow: `pip install 'archstone[history]'`. Reading the files needs nothing of Archstone.
"""

from archstone.systems.exchange.history.archive import Archive
from archstone.systems.exchange.history.columns import EVENTS, TRADES, Column
from archstone.systems.exchange.history.contract import History, HistoryOffError, Part
from archstone.systems.exchange.history.service import HistoryService, Shelf

__all__ = ["EVENTS", "TRADES", "Archive", "Column", "History", "HistoryOffError", "HistoryService", "Part", "Shelf"]
