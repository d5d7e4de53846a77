"""All books and all accounts of the exchange as one state machine: what risk allows is matched.

    Venue               the port: commands at a time in, events out
    venue               the fastest that is installed: its class says which
    ReferenceVenue      the rules, to be read; the oracle of every faster one
    NativeVenue         the same in C++, by `archstone-matching`
    order_id            how orders are named
    DumpError           a dump that is not taken

The same commands at the same times make the same events and the same state, on every machine: that is what a standby
and a restart live by.
"""

from archstone.systems.exchange.venue.native import NativeVenue, venue
from archstone.systems.exchange.venue.port import Standing, Venue, order_id, order_of
from archstone.systems.exchange.venue.reference import ReferenceVenue
from archstone.systems.exchange.venue.state import DumpError

__all__ = ["DumpError", "NativeVenue", "ReferenceVenue", "Standing", "Venue", "order_id", "order_of", "venue"]
