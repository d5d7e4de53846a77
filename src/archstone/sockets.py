"""What every connection to another process is looked at for: that there is another one.

Call `check_other` right after a connection was made, before anything is said.
"""

import asyncio
import socket
import struct
from typing import Final

__all__ = ["check_other"]

_AT_ONCE: Final = struct.pack("ii", 1, 0)


def check_other(made: asyncio.BaseTransport) -> None:
    """Refuse a connection that has itself at its other end.

    Where nobody listens on a port that the system also gives to clients, TCP can connect a socket to itself; and who is
    to listen there would find it taken, for a minute if it were closed in the usual way.

    Raises:
        ConnectionRefusedError: It is one, and is gone.
    """
    mine, other = made.get_extra_info("sockname"), made.get_extra_info("peername")
    if mine is None or mine != other:
        return
    made.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    made.close()
    raise ConnectionRefusedError(f"nobody listens on {other[0]}:{other[1]}")
