"""Who trades with whom, and at which price: the rules as plain Python, and as C++ where speed counts.

    Engine              the port: commands in, events out
    ReferenceEngine     the rules, to be read; the oracle of every faster engine
    Command, Kind ...   what an engine is told
    Event, Told ...     what it says
    COMMAND, EVENT      both as records of arrays

An engine knows one book. It does not know who may trade, or with how much: that is risk, before it. It keeps nothing:
that is the sequencer's log, before both.
"""

from archstone.systems.exchange.matching.arrays import COMMAND, EVENT, Commands, Events, commands_of, joined, rows_of
from archstone.systems.exchange.matching.commands import (
    MAX_PRICE,
    MAX_QUANTITY,
    Command,
    Flag,
    Kind,
    Limit,
    Phase,
    SelfTrade,
    Side,
    TimeInForce,
    Type,
)
from archstone.systems.exchange.matching.engine import Engine
from archstone.systems.exchange.matching.events import Event, Reason, Told
from archstone.systems.exchange.matching.reference import MOVES, ReferenceEngine

__all__ = [
    "COMMAND",
    "EVENT",
    "MAX_PRICE",
    "MAX_QUANTITY",
    "MOVES",
    "Command",
    "Commands",
    "Engine",
    "Event",
    "Events",
    "Flag",
    "Kind",
    "Limit",
    "Phase",
    "Reason",
    "ReferenceEngine",
    "SelfTrade",
    "Side",
    "TimeInForce",
    "Told",
    "Type",
    "commands_of",
    "joined",
    "rows_of",
]
