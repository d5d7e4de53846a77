"""The third node: it holds no commands, and decides by a lease which of the other two leads.

Promise: what it grants is on its disk before it answers. It grants a claim of the standby only when the leader's lease
is over by its own clock, and only if the leader has last said that the standby holds all; after a start it takes any
lease as given at that moment. It asks nobody: without it the leader goes on until its lease ends, and then waits.
"""

import asyncio
import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from archstone import disk, world
from archstone.errors import ConfigError
from archstone.observability import get_logger
from archstone.systems.exchange.sequencer.errors import FolderTakenError
from archstone.systems.exchange.sequencer.grant import Ask, Asked, Grant, decide, name_of
from archstone.systems.exchange.sequencer.network import Link, Listener, Message, Network, Say, check_speaker

__all__ = ["AFTER_GRANT", "BEFORE_GRANT", "Asking", "Witness"]

BEFORE_GRANT: Final = world.declare_point(
    "exchange.before_grant", "the witness has decided who leads, nothing of it is on its disk, and nobody knows"
)
AFTER_GRANT: Final = world.declare_point(
    "exchange.after_grant", "who leads is on the disk of the witness, and nobody knows"
)
_LEASE_S: Final = 0.7
_FILE: Final = "grant.json"

_log = get_logger("archstone.exchange")


class Witness:
    """See above; it takes questions between `async with` and the end of its block."""

    def __init__(
        self, folder: Path, *, network: Network, listen: str, lease_s: float = _LEASE_S, epoch: int = 0
    ) -> None:
        """Name what it keeps and where it listens.

        Args:
            folder: Of this witness alone.
            network: What carries questions.
            listen: Address.
            lease_s: How long a leader may lead after it has asked. Above 0.
            epoch: To begin after: the last one of a log that is there already. Only a node with such a log can be the
                first to lead. 0: there is none.
        """
        self.folder = folder
        self.grant = Grant(epoch=epoch)
        self._network, self._address = network, listen
        self._lease_s = lease_s
        self._until_s = 0.0
        self._listener: Listener | None = None
        self._owner: int | None = None

    async def __aenter__(self) -> Self:
        """Read what it has kept, and take questions.

        Raises:
            ConfigError: What it has kept is damaged; the text says what to do.
            FolderTakenError: Another process keeps it.
        """
        disk.make_folder(self.folder)
        self._owner = os.open(self.folder / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            disk.remove_unfinished(self.folder)
            if (self.folder / _FILE).exists():
                self.grant = _read(self.folder / _FILE)
            self._until_s = world.monotonic() + self._lease_s
            self._listener = await self._network.listen(self._address, self._serve)
        except BlockingIOError as error:
            os.close(self._owner)
            raise FolderTakenError(str(self.folder)) from error
        except BaseException:
            os.close(self._owner)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take no more questions."""
        if self._listener is not None:
            await self._listener.close()
        if self._owner is not None:
            os.close(self._owner)

    async def _serve(self, link: Link) -> None:
        while True:
            message = await link.receive()
            if message.kind is Say.ASK:
                link.send(self._answer(link, message))

    def _answer(self, link: Link, message: Message) -> Message:
        said = json.loads(message.body)
        asked = Asked(Ask(said["what"]), said["node"], message.epoch, message.serial, said["other"])
        check_speaker(link, name_of(asked.node))
        granted = decide(self.grant, asked, lease_over=world.monotonic() >= self._until_s)
        if granted is None:
            return Message(Say.REFUSED, self.grant.epoch, 0, message.serial, self.grant.leader.encode())
        if granted != self.grant:
            world.point(BEFORE_GRANT)
            disk.put(self.folder / _FILE, granted.encode())
            world.point(AFTER_GRANT)
            self.grant = granted
            _log.warning("granted", what=asked.what.name, node=asked.node, epoch=granted.epoch, standby=granted.standby)
        self._until_s = world.monotonic() + self._lease_s
        return Message(Say.GRANTED, granted.epoch, round(self._lease_s * 1e6), message.serial)


class Asking:
    """A node's line to the witness: one question at a time."""

    def __init__(self, network: Network, address: str, *, limit_s: float) -> None:
        """Name the witness, and how long an answer may take."""
        self._network, self._address = network, address
        self._limit_s = limit_s
        self._link: Link | None = None
        self._turn = asyncio.Lock()

    async def ask(self, asked: Asked) -> Message | None:
        """Return GRANTED or REFUSED; None: no answer, and whether it was granted nobody knows."""
        async with self._turn:
            answer = None
            try:
                with suppress(OSError):
                    async with asyncio.timeout(self._limit_s):
                        answer = await self._asked(asked)
            finally:
                if answer is None:  # it may still come, and must not be taken for the next one
                    self.close()
            return answer

    def close(self) -> None:
        """End the connection; the next question makes another."""
        if self._link is not None:
            self._link.close()
            self._link = None

    async def _asked(self, asked: Asked) -> Message:
        if self._link is None:
            self._link = await self._network.connect(self._address)
        body = json.dumps({"what": asked.what, "node": asked.node, "other": asked.other}).encode()
        self._link.send(Message(Say.ASK, asked.epoch, 0, asked.serial, body))
        return await self._link.receive()


def _read(path: Path) -> Grant:
    """Return what was granted. ConfigError: the file is damaged."""
    try:
        return Grant.decode(path.read_bytes())
    except ValueError as error:
        raise ConfigError(
            f"{path} is damaged ({error}): nobody knows any more who may lead, and nothing is granted. Put back the "
            "folder of the witness as it was, or stop both nodes and begin with an empty one and --epoch: "
            "docs/exchange/sequencer.md says how to find the number"
        ) from error
