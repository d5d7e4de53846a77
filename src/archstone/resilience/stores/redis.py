"""State in a Redis or Valkey server: one script per decision, by the server's clock.

Questions of one turn of the loop travel together, and while they are under way the next ones gather: so fifty callers
need two round trips and not fifty. Takes of one limiter become one run of its script, which answers with one text.

Keys begin with `archstone:`; those of one limiter, and those of one circuit, lie in one slot of a cluster. Each expires
when it says nothing any more (a circuit a day after its last move).

Needs `archstone[redis]`.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple, Protocol, cast

from archstone.errors import ConfigError
from archstone.resilience.breaker import Breaker, Ratio
from archstone.resilience.circuitstate import CircuitState, Refused, StateName, Window
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.store import Begun, StoreLostError, Taken
from archstone.resilience.stores.scripts import CIRCUIT, TAKE

__all__ = ["RedisStore"]

_STATES: Final[tuple[StateName, ...]] = ("closed", "open", "half open")
_REASONS: Final = ("", "open", "opened by hand", "half open")
_MOST: Final = 200
"""Questions that travel together."""
_NOW: Final = Taken(taken=True, wait_s=0.0)


class Connection(Protocol):
    """What is used of a connection of redis-py, which connects again where that was lost.

    One that stays: to borrow one for each round trip, through a pipeline, would cost as much as twenty questions.
    """

    def pack_commands(self, commands: Iterable[Sequence[object]]) -> list[bytes]:
        """Return what goes over the wire."""
        ...

    async def send_packed_command(self, command: list[bytes]) -> None:
        """Send it."""
        ...

    async def read_response(self) -> Any:
        """Return the next answer, or raise the error that it is."""
        ...


class Pool(Protocol):
    """What is used of redis-py's pool of connections."""

    async def get_connection(self) -> Connection:
        """Return one that is connected."""
        ...

    async def release(self, connection: Connection) -> None:
        """Take it back."""
        ...


class Client(Protocol):
    """What is used of redis-py's client."""

    connection_pool: Pool

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class Run(NamedTuple):
    """One run of a script, and what to do with its answer."""

    script: int
    keys: Sequence[str]
    args: Sequence[object]
    answered: Callable[[Any], None]
    failed: Callable[[Exception], None]


class Take(NamedTuple):
    """One take that waits to be asked."""

    policy: RateLimit
    key: str
    cost: float
    max_wait_s: float
    answer: "asyncio.Future[Taken]"


class RedisStore:
    """A server of circuits and limits. For the tasks of one event loop."""

    def __init__(self, url: str, timeout_s: float = 0.25) -> None:
        """Connect to nothing yet.

        Args:
            url: `redis://host:port/database`, `rediss://` for TLS. Its password is in no error and no repr.
            timeout_s: Longest that one round trip may take.
        """
        self._url = url
        self.timeout_s = timeout_s
        self._client: Client | None = None
        self._connection: Connection | None = None
        self._refused: type[Exception] = Exception
        # By the id of the policy, which its takes keep: to hash a policy costs as much as all else here.
        self._takes: dict[tuple[str, int], list[Take]] = {}
        self._runs: list[Run] = []
        self._sender: asyncio.Task[None] | None = None
        self._shas: list[str] = []

    def __repr__(self) -> str:
        place = self._url.rpartition("@")[2].removeprefix("redis://").removeprefix("rediss://")
        return f"RedisStore({place!r})"

    async def open(self) -> None:
        """Make a client; the first question connects."""
        try:
            redis, retry, backoff = (import_module(f"redis.{name}") for name in ("asyncio", "asyncio.retry", "backoff"))
        except ImportError as error:
            message = "a store on redis:// needs redis-py: pip install 'archstone[redis]'"
            raise ConfigError(message) from error
        self._refused = redis.ResponseError
        self._client = cast(
            "Client",
            redis.from_url(
                self._url,
                # A round trip as a whole is bounded by `timeout_s`. Bounds of its own would cost a task for each.
                socket_timeout=None,
                socket_connect_timeout=None,
                # A question that failed is not asked again: it may have been answered. The next one connects anew.
                retry=retry.Retry(backoff.NoBackoff(), 0),
            ),
        )

    async def close(self) -> None:
        """Close all connections; questions under way fail."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        self._fail(self._gathered(), StoreLostError(repr(self), "it is closed"))
        client, self._client = self._client, None
        connection, self._connection = self._connection, None
        if client is not None:
            if connection is not None:
                await client.connection_pool.release(connection)
            await client.aclose()

    def take(self, limiter: str, policy: RateLimit, key: str, cost: float, max_wait_s: float) -> Awaitable[Taken]:
        """Take `cost` for `key`. See `Store`."""
        answer: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        take, together = Take(policy, key, cost, max_wait_s, answer), (limiter, id(policy))
        if (takes := self._takes.get(together)) is not None:
            takes.append(take)
        else:
            self._takes[together] = [take]
        if self._sender is None:
            self._wake()
        return answer

    async def begin(self, circuit: str, policy: Breaker) -> Begun:
        """Let one call through, or say why not. See `Store`."""
        reason, retry_after_us, epoch, moved, state = cast(
            "tuple[int, int, int, int, int]", await self._ask(circuit, policy, "begin")
        )
        refused = Refused(_REASONS[reason], retry_after_us / 1e6) if reason else None
        return Begun(epoch, refused, _STATES[state] if moved else None)

    async def end(self, circuit: str, policy: Breaker, epoch: int, outcome: int) -> StateName | None:
        """Count a call. See `Store`."""
        said: list[int] = await self._ask(circuit, policy, "end", epoch, outcome)
        moved, state = said[3:]
        return _STATES[state] if moved else None

    async def force(self, circuit: str, policy: Breaker, for_s: float | None) -> None:
        """Open or close the circuit. See `Store`."""
        if for_s is None:
            await self._ask(circuit, policy, "close")
        else:
            await self._ask(circuit, policy, "open", -1 if math.isinf(for_s) else round(for_s * 1e6))

    async def look(self, circuit: str, policy: Breaker) -> tuple[CircuitState, float]:
        """Return where the circuit stands, and the time. See `Store`."""
        said: list[int] = await self._ask(circuit, policy, "look")
        state, epoch, until_us, failures, free, worked, calls, failed, now_us = said
        until_s = math.inf if until_us < 0 else until_us / 1e6
        window = Window([], calls, failed)
        return CircuitState(_STATES[state], epoch, until_s, failures, free, worked, window), now_us / 1e6

    async def _ask(self, circuit: str, policy: Breaker, verb: str, *args: object) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        ratio = policy.failures if isinstance(policy.failures, Ratio) else None
        row = policy.failures if isinstance(policy.failures, int) else 0
        window = (
            (0, 0, 0, 0)
            if ratio is None
            else (ratio.limit, ratio.over_calls or 0, round((ratio.over_s or 0) * 1e6), ratio.min_calls)
        )
        settings = (row, round(policy.open_s * 1e6), policy.trials, *window)
        key = f"archstone:circuit:{{{circuit}}}"
        self._runs.append(Run(1, (key,), (verb, *settings, *args), _setter(answer), _failer(answer)))
        self._wake()
        return await answer

    def _wake(self) -> None:
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_all(), name=f"questions to {self!r}")

    async def _send_all(self) -> None:
        """Send what has gathered, again and again until nothing has."""
        await asyncio.sleep(0)  # whoever else asks in this turn comes along
        try:
            while self._takes or self._runs:
                runs = self._gathered()
                try:
                    async with asyncio.timeout(self.timeout_s):
                        await self._send(runs)
                except asyncio.CancelledError:
                    self._fail(runs, StoreLostError(repr(self), "it is closed"))
                    raise
                except TimeoutError:
                    self._fail(runs, StoreLostError(repr(self), f"nothing after {self.timeout_s:g} s"))
                except Exception as error:  # noqa: BLE001 - whatever the driver raises, the questions have no answer
                    self._fail(runs, StoreLostError(repr(self), str(error) or type(error).__name__))
        finally:
            self._sender = None

    def _gathered(self) -> list[Run]:
        runs, self._runs = self._runs, []
        takes, self._takes = self._takes, {}
        for (limiter, _), several in takes.items():
            runs += [_taking(limiter, several[at : at + _MOST]) for at in range(0, len(several), _MOST)]
        return runs

    async def _send(self, runs: list[Run]) -> None:
        if self._client is None:
            raise StoreLostError(repr(self), "it is not open")
        if self._connection is None:
            self._connection = await self._client.connection_pool.get_connection()
        if not self._shas:
            await self._load(self._connection)
        answers = await self._round_trip(self._connection, [self._command(run) for run in runs])
        if any(type(answer).__name__ == "NoScriptError" for answer in answers):
            # The server has been restarted; a script that is not there has decided nothing.
            await self._load(self._connection)
            again = [run for run, answer in zip(runs, answers, strict=True) if isinstance(answer, Exception)]
            answers = [answer for answer in answers if not isinstance(answer, Exception)]
            runs = [run for run in runs if run not in again] + again
            answers += await self._round_trip(self._connection, [self._command(run) for run in again])
        for run, answer in zip(runs, answers, strict=True):
            if isinstance(answer, Exception):
                run.failed(StoreLostError(repr(self), str(answer)))
            else:
                run.answered(answer)

    async def _load(self, connection: Connection) -> None:
        shas = await self._round_trip(connection, [("SCRIPT LOAD", script) for script in (TAKE, CIRCUIT)])
        self._shas = [sha.decode() for sha in shas]

    def _command(self, run: Run) -> Sequence[object]:
        return ("EVALSHA", self._shas[run.script], len(run.keys), *run.keys, *run.args)

    async def _round_trip(self, connection: Connection, commands: Sequence[Sequence[object]]) -> list[Any]:
        """Send all, and return an answer or the error that it is for each."""
        await connection.send_packed_command(connection.pack_commands(commands))
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except self._refused as error:
                answers.append(error)
        return answers

    def _fail(self, runs: Iterable[Run], error: Exception) -> None:
        for run in runs:
            run.failed(error)


def _taking(limiter: str, takes: Sequence[Take]) -> Run:
    """Return one run of the script for several takes of one limiter."""
    prefix = f"archstone:limit:{{{limiter}}}:"
    policy, _, cost, max_wait_s, _ = takes[0]
    args: list[object] = [policy.kind, 1e6 / policy.rate_per_s, policy.burst, policy.max_wait_s * 1e6]
    alike = all(take.cost == cost and take.max_wait_s == max_wait_s for take in takes)
    for take in takes[:1] if alike else takes:
        args += (take.cost, take.max_wait_s * 1e6)

    def answered(waits_us: bytes) -> None:
        for take, wait_us in zip(takes, waits_us.split(), strict=True):
            if not take.answer.done():
                take.answer.set_result(_NOW if wait_us == b"0" else Taken(wait_us[:1] != b"-", abs(int(wait_us)) / 1e6))

    def failed(error: Exception) -> None:
        for take in takes:
            _failer(take.answer)(error)

    return Run(0, [prefix + take.key for take in takes], args, answered, failed)


def _setter(answer: "asyncio.Future[Any]") -> Callable[[Any], None]:
    return lambda value: None if answer.done() else answer.set_result(value)


def _failer(answer: "asyncio.Future[Any]") -> Callable[[Exception], None]:
    return lambda error: None if answer.done() else answer.set_exception(error)
