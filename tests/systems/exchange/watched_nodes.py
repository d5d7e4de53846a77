"""Nodes `a` and `b` in processes of their own, looked at from outside."""

import asyncio
import json
from typing import Any

from archstone.systems.exchange.sequencer import TcpNetwork
from archstone.systems.exchange.sequencer.network import Message, Say


class WatchedNodes:
    """By their addresses: those that are known so far."""

    addresses: dict[str, str]

    async def look(self, name: str) -> dict[str, Any] | None:
        """Return what a node says of itself; None if it does not answer."""
        if name not in self.addresses:
            return None
        try:
            async with asyncio.timeout(5):
                link = await TcpNetwork().connect(self.addresses[name])
                try:
                    link.send(Message(Say.LOOK))
                    message = await link.receive()
                finally:
                    link.close()
        except (OSError, TimeoutError):
            return None
        return json.loads(message.body)

    async def leader(self) -> str:
        """Wait until one leads and the other is its standby; return its name."""
        async with asyncio.timeout(60):
            while True:
                for name in "ab":
                    seen = await self.look(name)
                    if seen and seen["leading"] and seen["standby"]:
                        return name
                await asyncio.sleep(0.02)

    async def equal(self) -> None:
        """Wait until both hold and have done the same."""
        async with asyncio.timeout(60):
            await self.leader()
            while True:
                one, other = [await self.look(name) for name in "ab"]
                if one and other and (one["held"], one["digest"]) == (other["held"], other["digest"]):
                    return
                await asyncio.sleep(0.05)
