"""A node of two that keep every frame on both their disks, and of which one leads: a sequencer that outlives a machine.

    place = Place(name="a", listen="127.0.0.1:7101", peer="127.0.0.1:7102", witness="127.0.0.1:7100")
    async with Node(place, folder, ReferenceVenue, network=TcpNetwork(), eager=True) as node:
        batch = await node.submit(commands)          # NotLeadingError on the node that follows

Promise: what was answered is on both disks, or on one with the witness's written consent, and is never lost or done
twice as long as the disk that must have it lives. When the leader dies the standby leads within a second. At any moment
at most one of the two acknowledges. docs/exchange/sequencer.md says why.
Not for more than two: there, Raft.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import numpy as np

from archstone import world
from archstone.observability import get_logger
from archstone.systems.exchange.matching import COMMAND, Commands
from archstone.systems.exchange.sequencer.address import service_at
from archstone.systems.exchange.sequencer.clients import serve_client
from archstone.systems.exchange.sequencer.durable import sync_now_and_then
from archstone.systems.exchange.sequencer.errors import NotLeadingError
from archstone.systems.exchange.sequencer.following import FencedError, follow_leader, followed
from archstone.systems.exchange.sequencer.grant import Ask, Asked, identity, name_of
from archstone.systems.exchange.sequencer.holder import Holder
from archstone.systems.exchange.sequencer.intake import Intake, Waiting
from archstone.systems.exchange.sequencer.leading import Leading
from archstone.systems.exchange.sequencer.network import Link, Listener, Message, Network, Say, check_speaker
from archstone.systems.exchange.sequencer.node_settings import NodeSettings
from archstone.systems.exchange.sequencer.port import Batch
from archstone.systems.exchange.sequencer.quorum import NoLongerLeadingError, Quorum, lease_end_s
from archstone.systems.exchange.sequencer.replica import Replica, VenueClass
from archstone.systems.exchange.sequencer.settings import SequencerSettings
from archstone.systems.exchange.sequencer.witness import Asking
from archstone.systems.exchange.sequencer.writer import write

__all__ = ["AFTER_CLAIM", "AFTER_EPOCH", "Node", "Place"]

AFTER_CLAIM: Final = world.declare_point(
    "exchange.after_claim", "the witness has granted a node a new epoch, and the node's log does not know of it"
)
AFTER_EPOCH: Final = world.declare_point(
    "exchange.after_epoch", "the first frame of a new epoch is on the new leader's disk, and it has told nobody"
)

_log = get_logger("archstone.exchange")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node stands: a name, and addresses `HOST:PORT`; with TLS the others' are `NAME@HOST:PORT`."""

    name: str
    """Of this node, another one than its peer's, and the same after a restart; with TLS, that of its certificate."""
    listen: str
    """Its own."""
    peer: str
    """Of the other node that keeps commands."""
    witness: str
    """Of who decides which of the two leads."""


class Node:
    """See `Sequencer`; it leads or follows between `async with` and the end of its block."""

    def __init__(
        self,
        place: Place,
        folder: Path,
        venue: VenueClass,
        *,
        network: Network,
        eager: bool = False,
        settings: SequencerSettings | None = None,
        times: NodeSettings | None = None,
    ) -> None:
        """Name everything; nothing is opened yet.

        Args:
            place: Its name and its neighbours.
            folder: Of this node alone.
            venue: The class of what acts, with `load`.
            network: What carries messages.
            eager: Whether it may lead before it has ever followed: true for one of the two, or nobody begins.
            settings: How much waits, and how it is kept.
            times: How quickly nodes notice each other's end.
        """
        self.name = place.name
        self.settings = settings or SequencerSettings()
        self.replica = Replica(folder, venue, self.settings)
        self.holder = Holder()
        """Whose commands alone are taken."""
        self._place, self._network = place, network
        self._eager = eager
        self._times = times or NodeSettings()
        self._asking = Asking(network, place.witness, limit_s=self._times.ask_s)
        self._intake = Intake(self.settings)
        self._quorum: Quorum | None = None
        self._leader = ""
        self._refused_after = -1
        self._listener: Listener | None = None
        self._living: asyncio.Task[None] | None = None

    @property
    def leading(self) -> Leading | None:
        """What this node goes by as a leader. None: it does not lead."""
        return None if self._quorum is None else self._quorum.leading

    async def __aenter__(self) -> Self:
        """Open the folder, listen, and look for the leader.

        Raises:
            FolderTakenError, LogDamagedError, VenueDiffersError: See `Replica.open`.
        """
        self.replica.open()
        try:
            self._listener = await self._network.listen(self._place.listen, self._serve)
        except BaseException:
            self.replica.close()
            raise
        self._living = asyncio.create_task(self._live(), name=f"node {self.name}")
        relaxed = self.settings.acknowledge_before_fsync
        _log.info("node open", node=self.name, after=self.replica.log.end.sequence, acknowledge_before_fsync=relaxed)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop at once, as a crash would, but with all that was appended on disk."""
        assert self._living is not None
        self._living.cancel()
        await asyncio.gather(self._living, return_exceptions=True)
        if self._listener is not None:
            await self._listener.close()
        self._asking.close()
        with suppress(Exception):
            await self.replica.settle()
        self.replica.close()

    async def wait(self) -> None:
        """Wait for this node to end, which it does only when it cannot go on.

        Raises:
            LogBrokenError, LogsDifferError, VenueDiffersError: Why.
        """
        assert self._living is not None
        await asyncio.shield(self._living)

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done; see `Sequencer.submit`.

        Cancelled, they are withdrawn if they still wait, and done otherwise.

        Raises:
            SequencerFullError, NotLeadingError: They were not taken. Nothing has happened.
            UnavailableError: Whether they are kept is not known.
        """
        return await self.put(commands).answer

    def follow(self, after: int) -> AsyncGenerator[Batch]:
        """Give all that is kept after command number `after`, then all that comes; see `Sequencer.follow`."""
        return self.replica.follow(after)

    def put(self, commands: Commands) -> Waiting:
        """Let commands wait to be kept; see `submit`."""
        if self._quorum is None:
            raise NotLeadingError(self.name, self._leader)
        return self._intake.put(commands)

    def look(self) -> dict[str, object]:
        """Return what an operator wants to know of this node."""
        quorum = self._quorum
        return {
            "node": self.name,
            "leading": quorum is not None,
            # Not who is about to join: killed now, this node would have nobody in its place.
            "standby": "" if quorum is None else name_of(quorum.joined),
            "digest": f"{self.replica.venue.digest():016x}",
            "held": self.replica.log.end.sequence,
        }

    async def _live(self) -> None:
        """Lead when the witness says so, else follow whoever leads, for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                if self.settings.acknowledge_before_fsync:
                    tasks.create_task(sync_now_and_then(self.replica))
                tasks.create_task(self._lead_or_follow())
        except Exception as error:
            why = _cause(error)
            _log.error("node cannot go on", node=self.name, exc_info=why)
            raise why from error

    async def _lead_or_follow(self) -> None:
        claims = self._eager
        while True:
            granted = await self._claim() if claims else None
            if granted is not None:
                await self._lead(*granted)
            else:
                await self._follow()
            # Who has never held anything waits to be told; who has may be the one to go on.
            claims = self._eager or self.replica.log.end.epoch > 0
            await asyncio.sleep(self._times.retry_s)

    async def _claim(self) -> tuple[int, float] | None:
        """Ask to lead; return the epoch, and until when the lease holds."""
        asked_s = world.monotonic()
        known = self.replica.log.end.epoch
        answer = await self._asking.ask(Asked(Ask.CLAIM, identity(self.name, self.replica.id), known))
        if answer is None:
            return None
        if answer.kind is not Say.GRANTED:
            self._leader = name_of(answer.body.decode())
            self._tell_refused(known, answer.epoch)
            return None
        world.point(AFTER_CLAIM)
        return answer.epoch, lease_end_s(asked_s, answer, self._times)

    def _tell_refused(self, known: int, witness: int) -> None:
        """Tell the operator, once, where nobody else leads and it is the witness that must be looked at."""
        if witness == self._refused_after:
            return
        self._refused_after = witness
        if known > witness:
            _log.error("the witness has lost what it kept", node=self.name, known=known, witness=witness)
        elif known < witness and not self._leader:
            _log.error("nobody leads before a log of the witness's epoch", node=self.name, known=known, witness=witness)

    async def _lead(self, epoch: int, until_s: float) -> None:
        replica = self.replica
        # Nobody else may lead before this node has let it join: all that is held here is kept for good.
        replica.do(replica.log.end.sequence)
        replica.append(replica.next_frame(np.zeros(0, COMMAND), epoch=epoch))
        await replica.sync_now()
        replica.do(replica.log.end.sequence)
        world.point(AFTER_EPOCH)
        leading = Leading(epoch=epoch, until_s=until_s)
        self._quorum = Quorum(replica, self.name, self._asking, self._times, leading)
        _log.warning("leads", node=self.name, epoch=epoch, after=replica.done.sequence)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(write(replica, self._intake, self._quorum.keep))
                tasks.create_task(self._quorum.renew())
        except* NoLongerLeadingError as group:
            _log.warning("no longer leads", node=self.name, epoch=epoch, why=str(group.exceptions[0]))
        finally:
            self._quorum.close()
            self._quorum = None
            self._intake.refuse(NotLeadingError(self.name, ""))

    async def _follow(self) -> None:
        try:
            link = await self._network.connect(self._place.peer)
        except OSError:
            return
        try:
            await follow_leader(self.replica, link, name=self.name, silence_s=self._times.silence_s)
        except (OSError, FencedError) as error:
            _log.debug("follows no more", node=self.name, why=str(error))
        finally:
            link.close()

    async def _serve(self, link: Link) -> None:
        message = await link.receive()
        if message.kind is not Say.FOLLOW:
            await serve_client(self, link, message)
        elif self._quorum is None or message.epoch > self._quorum.leading.epoch:
            link.send(Message(Say.REFUSED, self.replica.log.end.epoch, body=self._leader.encode()))
        else:
            node, epochs = followed(message)
            check_speaker(link, name_of(node), service_at(self._place.peer))
            await self._quorum.serve(link, node, epochs)


def _cause(error: Exception) -> Exception:
    """Return the error itself where tasks that ran together have failed."""
    while failed := cast("tuple[Exception, ...]", getattr(error, "exceptions", ())):  # of a group
        error = failed[0]
    return error
