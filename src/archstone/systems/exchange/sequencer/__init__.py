"""Who decides what comes first: one sequence for all commands, kept before it is acted upon.

    Sequencer           the port: commands in, what became of them out, and the whole stream to follow
    MemorySequencer     keeps nothing: for trying, and for tests of what reads the stream
    DurableSequencer    keeps all on one disk
    Node, Witness       two that keep all on both their disks, and a third that decides which of them leads
    RemoteSequencer     asks nodes in other processes, over a `TcpNetwork`

Whoever reads the stream, the same batches in the same order, comes to the same state.
"""

from archstone.systems.exchange.sequencer.durable import DurableSequencer
from archstone.systems.exchange.sequencer.errors import (
    FolderTakenError,
    FrameTooLargeError,
    LogDamagedError,
    LogsDifferError,
    NotLeadingError,
    SequencerFullError,
    UnavailableError,
    VenueDiffersError,
)
from archstone.systems.exchange.sequencer.log import CommandLog, LogBrokenError
from archstone.systems.exchange.sequencer.memory import MemorySequencer
from archstone.systems.exchange.sequencer.node import Node, Place
from archstone.systems.exchange.sequencer.node_settings import NodeSettings
from archstone.systems.exchange.sequencer.port import Batch, Dump, Sequencer, keeps
from archstone.systems.exchange.sequencer.recent import part_of
from archstone.systems.exchange.sequencer.remote import Looked, RemoteSequencer
from archstone.systems.exchange.sequencer.replica import VenueClass
from archstone.systems.exchange.sequencer.settings import SequencerSettings
from archstone.systems.exchange.sequencer.tcp import TcpNetwork
from archstone.systems.exchange.sequencer.witness import Witness

__all__ = [
    "Batch",
    "CommandLog",
    "Dump",
    "DurableSequencer",
    "FolderTakenError",
    "FrameTooLargeError",
    "LogBrokenError",
    "LogDamagedError",
    "LogsDifferError",
    "Looked",
    "MemorySequencer",
    "Node",
    "NodeSettings",
    "NotLeadingError",
    "Place",
    "RemoteSequencer",
    "Sequencer",
    "SequencerFullError",
    "SequencerSettings",
    "TcpNetwork",
    "UnavailableError",
    "VenueClass",
    "VenueDiffersError",
    "Witness",
    "keeps",
    "part_of",
]
