"""UDP multicast: on the loopback interface unless another one is named, so that nothing leaves this machine unmeant."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["Group", "join", "sender"]

_BUFFER_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Group:
    """Where packets go."""

    address: str = "239.255.71.1"
    """Of a group that stays within a site (RFC 2365)."""
    port: int = 7_101
    interface: str = "127.0.0.1"
    """The address of the interface that packets leave and come by."""
    hops: int = 0
    """Routers that a packet may pass, plus 1; 0: it stays on this machine."""


def sender(group: Group) -> tuple[Callable[[bytes], bool], Callable[[], None]]:
    """Return what sends a packet to a group, and what closes it.

    Sending never waits: False if the system had no room for the packet, which is lost then, as packets are.
    """
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.settimeout(0)
    wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(group.interface))
    wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, group.hops)
    wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)

    def send(packet: bytes) -> bool:
        try:
            wire.sendto(packet, (group.address, group.port))
        except OSError:
            return False
        return True

    return send, wire.close


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self._receive(data)


async def join(group: Group, receive: Callable[[bytes], None]) -> asyncio.DatagramTransport:
    """Have each packet of a group given to a function, which must not raise, until what is returned is closed."""
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        wire.settimeout(0)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        wire.bind((group.address, group.port))
        member = socket.inet_aton(group.address) + socket.inet_aton(group.interface)
        wire.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Receiver(receive), sock=wire)
    except BaseException:
        wire.close()
        raise
    return transport
