"""Days that were: files of LOBSTER and of NASDAQ's TotalView-ITCH 5.0, sent through an exchange again.

    ItchReader, LobsterReader   a file as messages, in pieces; damage is refused with its place
    Mapper                      what an exchange must be told to come to the same book
    replay                      all of it, at any speed, compared with what the file says of itself
    Recorder                    what an exchange of ours did, as messages
    write_itch, write_lobster   messages as files

No data of others comes with it: samples are made of our own flows.
"""

from archstone.systems.exchange.replaying.itch import ItchReader, write_itch
from archstone.systems.exchange.replaying.lobster import (
    LobsterPiece,
    LobsterReader,
    orderbook_of,
    row_of,
    write_lobster,
)
from archstone.systems.exchange.replaying.mapping import Mapped, Mapper
from archstone.systems.exchange.replaying.messages import MESSAGE, DamagedFileError, Happened, Messages
from archstone.systems.exchange.replaying.rebuilt import Rebuilt, Resting
from archstone.systems.exchange.replaying.recording import Recorder, with_rows
from archstone.systems.exchange.replaying.replay import Depths, Report, replay

__all__ = [
    "MESSAGE",
    "DamagedFileError",
    "Depths",
    "Happened",
    "ItchReader",
    "LobsterPiece",
    "LobsterReader",
    "Mapped",
    "Mapper",
    "Messages",
    "Rebuilt",
    "Recorder",
    "Report",
    "Resting",
    "orderbook_of",
    "replay",
    "row_of",
    "with_rows",
    "write_itch",
    "write_lobster",
]
