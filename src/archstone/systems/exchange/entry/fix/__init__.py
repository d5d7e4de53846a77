"""Orders by FIX 4.4.

FixServer           takes them
Listed              how a book is called, and what its ticks and lots are
FixRules            what clients are held to

It needs the package simplefix (extra `fix`).
"""

from archstone.systems.exchange.entry.fix.orders import Listed
from archstone.systems.exchange.entry.fix.server import FixRules, FixServer

__all__ = ["FixRules", "FixServer", "Listed"]
