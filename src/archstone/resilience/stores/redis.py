"""State in a Redis or Valkey server: one script per decision, by the server's clock.

Questions of one turn of the loop travel together, and while they are under way the next ones gather: so fifty callers
need two round trips and not fifty. Takes of one limiter become one run of its script.

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


class Pipeline(Protocol):
    """What is used of redis-py's pipeline."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: object) -> object:
        """Add a run of a script."""
        ...

    def script_load(self, script: str) -> object:
        """Add the loading of a script."""
        ...

    async def execute(self, raise_on_error: bool = ...) -> list[Any]:  # noqa: FBT001 - redis-py's
        """Send all, and return an answer or an exception for each."""
        ...


class Client(Protocol):
    """What is used of redis-py's client."""

    def pipeline(self, transaction: bool = ...) -> Pipeline:  # noqa: FBT001 - redis-py's
        """Return an empty pipeline."""
        ...

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
        self._takes: dict[tuple[str, RateLimit], list[Take]] = {}
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
        self._client = cast(
            "Client",
            redis.from_url(
                self._url,
                socket_timeout=self.timeout_s,
                socket_connect_timeout=self.timeout_s,
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
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def take(self, limiter: str, policy: RateLimit, key: str, cost: float, max_wait_s: float) -> Awaitable[Taken]:
        """Take `cost` for `key`. See `Store`."""
        answer: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self._takes.setdefault((limiter, policy), []).append(Take(key, cost, max_wait_s, answer))
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
        for (limiter, policy), several in takes.items():
            runs += [_taking(limiter, policy, several[at : at + _MOST]) for at in range(0, len(several), _MOST)]
        return runs

    async def _send(self, runs: Iterable[Run]) -> None:
        if self._client is None:
            raise StoreLostError(repr(self), "it is not open")
        runs = list(runs)
        if not self._shas:
            await self._load(self._client)
        answers = await self._round_trip(self._client, runs)
        if any(type(answer).__name__ == "NoScriptError" for answer in answers):
            # The server has been restarted; a script that is not there has decided nothing.
            await self._load(self._client)
            again = [run for run, answer in zip(runs, answers, strict=True) if isinstance(answer, Exception)]
            answers = [answer for answer in answers if not isinstance(answer, Exception)]
            runs = [run for run in runs if run not in again] + again
            answers += await self._round_trip(self._client, again)
        for run, answer in zip(runs, answers, strict=True):
            if isinstance(answer, Exception):
                run.failed(StoreLostError(repr(self), str(answer)))
            else:
                run.answered(answer)

    async def _load(self, client: Client) -> None:
        loading = client.pipeline(transaction=False)
        for script in (TAKE, CIRCUIT):
            loading.script_load(script)
        self._shas = [str(sha) for sha in await loading.execute()]

    async def _round_trip(self, client: Client, runs: Iterable[Run]) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for run in runs:
            pipeline.evalsha(self._shas[run.script], len(run.keys), *run.keys, *run.args)
        return await pipeline.execute(raise_on_error=False)

    def _fail(self, runs: Iterable[Run], error: Exception) -> None:
        for run in runs:
            run.failed(error)


def _taking(limiter: str, policy: RateLimit, takes: Sequence[Take]) -> Run:
    """Return one run of the script for several takes of one limiter."""
    prefix = f"archstone:limit:{{{limiter}}}:"
    args: list[object] = [policy.kind, 1e6 / policy.rate_per_s, policy.burst, policy.max_wait_s * 1e6]
    for take in takes:
        args += (take.cost, take.max_wait_s * 1e6)

    def answered(waits_us: Sequence[int]) -> None:
        for take, wait_us in zip(takes, waits_us, strict=True):
            if not take.answer.done():
                take.answer.set_result(Taken(wait_us >= 0, abs(wait_us) / 1e6))

    def failed(error: Exception) -> None:
        for take in takes:
            _failer(take.answer)(error)

    return Run(0, [prefix + take.key for take in takes], args, answered, failed)


def _setter(answer: "asyncio.Future[Any]") -> Callable[[Any], None]:
    return lambda value: None if answer.done() else answer.set_result(value)


def _failer(answer: "asyncio.Future[Any]") -> Callable[[Exception], None]:
    return lambda error: None if answer.done() else answer.set_exception(error)
