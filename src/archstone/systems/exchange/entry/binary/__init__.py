"""Orders over TCP in messages of 64 bytes.

BinaryServer        takes them
EntryClient         sends them, across lost connections
Bounds              how much one connection may ask for
"""

from archstone.systems.exchange.entry.binary.bounds import Bounds
from archstone.systems.exchange.entry.binary.client import Connect, EntryClient, over_tcp
from archstone.systems.exchange.entry.binary.errors import (
    EntryClosedError,
    EntryRefusedError,
    TooManyUnansweredError,
)
from archstone.systems.exchange.entry.binary.messages import Choice, Fault, Say
from archstone.systems.exchange.entry.binary.server import BinaryServer

__all__ = [
    "BinaryServer",
    "Bounds",
    "Choice",
    "Connect",
    "EntryClient",
    "EntryClosedError",
    "EntryRefusedError",
    "Fault",
    "Say",
    "TooManyUnansweredError",
    "over_tcp",
]
