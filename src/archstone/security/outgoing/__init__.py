"""Ask addresses that strangers have named: public ones only, looked at before the connection, bounded in every way.

outgoing.py     the request, redirects, bounds
places.py       which addresses are asked at all
names.py        look-ups that hold nobody up
answer.py       an answer read within its bounds
"""

from archstone.security.outgoing.answer import Fetched
from archstone.security.outgoing.errors import OutgoingError, OutgoingFault
from archstone.security.outgoing.names import Names, Resolve
from archstone.security.outgoing.outgoing import Outgoing, OutgoingBounds
from archstone.security.outgoing.places import Allowed, Place, is_public, place_of

__all__ = [
    "Allowed",
    "Fetched",
    "Names",
    "Outgoing",
    "OutgoingBounds",
    "OutgoingError",
    "OutgoingFault",
    "Place",
    "Resolve",
    "is_public",
    "place_of",
]
