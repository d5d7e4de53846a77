"""Two-phase commit: a transaction over several databases that commits in all of them or in none.

    async with TwoPhase(log, {"north": Prepared(north), "south": Prepared(south)}) as two_phase:
        async with two_phase.transaction("north", "south") as work:
            await work["north"].execute("UPDATE accounts SET amount = amount - 5 WHERE id = 1")
            await work["south"].execute("UPDATE accounts SET amount = amount + 5 WHERE id = 2")

Promise: when the block has been left, the decision is on disk and holds everywhere, whatever dies: a participant that
could not be told is told by recovery. A block that raises, and a decision that could not be written, leave nothing.

It blocks: between preparing and the decision every row that was touched stays locked, and if the coordinator dies
there, until somebody recovers. A saga does not, and shows interim states instead. Use this only where no interim state
may ever be seen, between few databases that are close; docs/two-phase-commit.md has the numbers.

How: each participant prepares, and notes the transaction in the same transaction (`_archstone_branches`). The decision
is one row in the log's database. Whoever finds a prepared transaction without a decision for longer than `grace_s`
decides to abort by writing that row: the first row wins, so a slow coordinator and a recovering one cannot decide
differently. A participant that was settled by hand against the decision is found by its note, and reported.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from archstone import context, world
from archstone.context import Call
from archstone.data import Database, Schema, Transaction, TransactionLostError
from archstone.errors import ArchstoneError, ConfigError
from archstone.observability import counter, gauge, get_logger
from archstone.sagas.participants import Participant

__all__ = ["AFTER_DECISION", "AFTER_PREPARE", "BEFORE_DECISION", "MID_COMMIT", "InDoubt", "TwoPhase"]

DECISIONS: Final = Schema(
    "two-phase",
    (
        (
            """CREATE TABLE _archstone_decisions (
                id TEXT PRIMARY KEY, coordinator TEXT NOT NULL, decision TEXT NOT NULL, at INTEGER NOT NULL
            )""",
            "CREATE INDEX _archstone_decisions_age ON _archstone_decisions (at)",
        ),
    ),
)

AFTER_PREPARE: Final = world.declare_point(
    "two_phase.after_prepare", "one participant is prepared, others may not be; nothing is decided"
)
BEFORE_DECISION: Final = world.declare_point("two_phase.before_decision", "all are prepared; nothing is decided")
AFTER_DECISION: Final = world.declare_point(
    "two_phase.after_decision", "the decision to commit is on disk; no participant has been told"
)
MID_COMMIT: Final = world.declare_point(
    "two_phase.mid_commit", "one participant has committed, others are prepared; the decision is on disk"
)

_NAME: Final = re.compile("[a-z0-9_-]{1,60}")
_DECIDE: Final = (
    "INSERT INTO _archstone_decisions (id, coordinator, decision, at) VALUES (:id, :coordinator, :decision, :at)"
    " ON CONFLICT (id) DO NOTHING"
)
_DECIDED: Final = "SELECT decision FROM _archstone_decisions WHERE id = :id"
_SWEEP: Final = "DELETE FROM _archstone_decisions WHERE coordinator = :coordinator AND at < :before"

_log = get_logger("archstone.sagas")
_outcomes = counter("archstone_two_phase_ended", "Transactions over several databases.", ("coordinator", "outcome"))
_doubt = gauge("archstone_two_phase_in_doubt", "Prepared transactions that are not settled.", ("coordinator",))


class InDoubt(NamedTuple):
    """A participant's part of a transaction, prepared and not settled."""

    participant: str
    id: str


class TwoPhase:
    """Coordinates, and recovers what another coordinator of the same name left behind."""

    def __init__(
        self,
        log: Database,
        participants: Mapping[str, Participant],
        *,
        name: str = "two-phase",
        grace_s: float = 10.0,
        keep_s: float = 86_400.0,
    ) -> None:
        """Describe a coordinator.

        Args:
            log: An open database for the decisions. Any number of coordinators of one name may share it.
            participants: By name, of the same form; `Prepared` for PostgreSQL, `Reserving` for one that cannot prepare.
            name: Tells coordinators apart that share a server. At most 60 characters of a-z, 0-9, - and _.
            grace_s: Seconds that a prepared transaction may be without a decision before recovery aborts it. Above 0,
                and longer than any block takes.
            keep_s: Seconds that decisions and notes are kept. Longer than a participant may be away.

        Raises:
            ConfigError: An argument is out of range.
        """
        for each in (name, *participants):
            if not _NAME.fullmatch(each):
                raise ConfigError(f"TwoPhase: name={each!r} must be 1 to 60 characters of a-z, 0-9, - and _")
        if not 0 < grace_s < keep_s < float("inf"):
            raise ConfigError(f"TwoPhase: 0 < grace_s={grace_s} < keep_s={keep_s} must hold, both finite")
        self.name = name
        self._log = log
        self._participants = dict(participants)
        self._grace_s = grace_s
        self._keep_s = keep_s
        self._seen_s: dict[InDoubt, float] = {}
        self._active: set[str] = set()
        self._runner: asyncio.Task[None] | None = None
        self.heuristic: list[InDoubt] = []
        """Settled by hand against the decision, found by this coordinator; at most the last 100."""

    async def __aenter__(self) -> Self:
        """Create what is missing, recover once, and go on looking."""
        await self._log.ensure(DECISIONS)
        for participant in self._participants.values():
            await participant.open()
        await self.recover()
        self._runner = asyncio.create_task(self._run(), name=f"two-phase {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])

    @asynccontextmanager
    async def transaction(self, *names: str) -> AsyncGenerator[Mapping[str, Transaction]]:
        """Open a transaction in each of these participants; leaving the block commits all, raising in it none.

        Raises (from leaving):
            TransactionLostError: A participant could not prepare, or recovery took the transaction for dead. Nothing
                was done, run it again.
            CommitUnknownError: The log broke while the decision was written. Recovery finds out; look before retrying.
        """
        id_ = world.new_id()
        prepared: list[str] = []
        self._active.add(id_)
        try:
            try:
                async with AsyncExitStack() as stack:
                    work: dict[str, Transaction] = {}
                    for name in names:
                        branch = self._participants[name].branch(self._name(name, id_))
                        work[name] = await stack.enter_async_context(_counted(branch, name, prepared))
                    yield work
            except BaseException:
                await self._settle(id_, prepared, commit=False)
                raise
            commit = await self._decide(id_)  # if this raises nobody knows, and recovery finds out
            await self._settle(id_, prepared, commit=commit)
        finally:
            self._active.discard(id_)
        if not commit:
            raise TransactionLostError(self._log.label, "because recovery took it for dead and aborted it")

    def _name(self, participant: str, id_: str) -> str:
        # With the participant: names of prepared transactions are unique in a server, not in a database.
        return f"archstone/{self.name}/{participant}/{id_}"

    async def _decide(self, id_: str) -> bool:
        world.point(BEFORE_DECISION)
        commit = bool(await self._write(id_, "commit"))
        world.point(AFTER_DECISION)
        return commit

    async def _write(self, id_: str, decision: str) -> int:
        at = world.now_us()
        return await self._log.execute(_DECIDE, id=id_, coordinator=self.name, decision=decision, at=at)

    async def _settle(self, id_: str, names: list[str], *, commit: bool) -> None:
        """Tell each participant; one that cannot be told is left to recovery."""
        outcome = "committed" if commit else "aborted"
        for name in names:
            try:
                if not await self._participants[name].settle(self._name(name, id_), commit=commit):
                    self._heuristic(InDoubt(name, id_), outcome)
            except ArchstoneError as error:
                _log.warning("a participant will be told later", participant=name, id=id_, why=str(error))
            if commit:
                world.point(MID_COMMIT)
        _outcomes.labels(self.name, outcome).inc()

    def _heuristic(self, part: InDoubt, outcome: str) -> None:
        self.heuristic = [*self.heuristic[-99:], part]
        _outcomes.labels(self.name, "heuristic").inc()
        _log.error(
            "a participant was settled by hand against the decision: repair its data",
            participant=part.participant, id=part.id, decision=outcome,
        )  # fmt: skip

    async def in_doubt(self) -> list[InDoubt]:
        """Return what is prepared and not settled, at participants that can be reached."""
        found: list[InDoubt] = []
        for name, participant in self._participants.items():
            prefix = self._name(name, "")
            try:
                found += [InDoubt(name, each.removeprefix(prefix)) for each in await participant.prepared(prefix)]
            except ArchstoneError as error:
                _log.warning("a participant cannot be asked", participant=name, why=str(error))
        _doubt.labels(self.name).set(len(found))
        return found

    async def recover(self) -> int:
        """Settle what is decided, and abort what has been without a decision for `grace_s`; return how many."""
        now_s, settled = world.monotonic(), 0
        found = await self.in_doubt()
        self._seen_s = {part: self._seen_s.get(part, now_s) for part in found}
        for part in found:
            if part.id in self._active:
                continue
            decision = await self._log.first(str, _DECIDED, id=part.id)
            if decision is None:
                if now_s - self._seen_s[part] < self._grace_s:
                    continue
                await self._write(part.id, "abort")  # whoever was first has decided
                decision = await self._log.one(str, _DECIDED, id=part.id)
            await self._settle(part.id, [part.participant], commit=decision == "commit")
            settled += 1
        return settled

    async def sweep(self) -> None:
        """Drop decisions and notes that are older than `keep_s`."""
        before = world.now_us() - int(self._keep_s * 1_000_000)
        await self._log.execute(_SWEEP, coordinator=self.name, before=before)
        for name, participant in self._participants.items():
            await participant.sweep(self._name(name, ""), before)

    async def _run(self) -> None:
        context.set_current(Call())
        while True:
            await asyncio.sleep(self._grace_s / 4)
            try:
                await self.recover()
                await self.sweep()
            except ArchstoneError as error:
                _log.warning("recovery will be tried again", coordinator=self.name, why=str(error))


class _Branch(Protocol):
    async def __aenter__(self) -> Transaction: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


@asynccontextmanager
async def _counted(branch: _Branch, name: str, prepared: list[str]) -> AsyncGenerator[Transaction]:
    async with branch as tx:
        yield tx
        prepared.append(name)  # from here on it may be prepared, even if that fails to be told
    world.point(AFTER_PREPARE)
