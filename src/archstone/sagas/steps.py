"""What `self.step` is: the one word by which a saga's body acts, and remembers that it did."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, TypeVarTuple, cast

from archstone import context, world
from archstone.errors import ConfigError
from archstone.observability import span
from archstone.resilience import Retry
from archstone.sagas.atomic import Keep
from archstone.sagas.children import Child, child_id, follow
from archstone.sagas.codec import same_arguments, value_codec
from archstone.sagas.effect import Effect, GivenUpError
from archstone.sagas.errors import SagaChangedError, StepCodecError
from archstone.sagas.journal import Begun, answer_entry, begin_entry, sleep_entry
from archstone.sagas.operations import Callee, Operation
from archstone.sagas.points import AFTER_BEGIN, AFTER_EFFECT, BEFORE_BEGIN
from archstone.sagas.receiving import Receipt, receive
from archstone.sagas.rows import Nap
from archstone.sagas.run import Run
from archstone.sagas.waiting import wait_for

__all__ = ["Steps"]

Ts = TypeVarTuple("Ts")
Us = TypeVarTuple("Us")
R = TypeVar("R")
T = TypeVar("T")

_BRANCH: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_NULL: Final = b"null"


class Steps:
    """The steps of one branch of a running saga."""

    __slots__ = ("_branch", "_branches", "_counts", "_ordinal", "_run")

    def __init__(self, run: Run, branch: str = "main", branches: "dict[str, Steps] | None" = None) -> None:
        self._run = run
        self._branch = branch
        self._branches = branches
        self._counts: dict[str, int] = {}
        self._ordinal = 0

    @property
    def id(self) -> str:
        """The saga's id."""
        return self._run.id

    @property
    def now(self) -> datetime:
        """When the saga was started, aware, UTC: the same however often its body runs."""
        return datetime.fromtimestamp(self._run.saga.started_us / 1_000_000, UTC)

    def branch(self, name: str) -> "Steps":
        """Return the steps of branch `name`, for what runs at the same time as other steps.

        Steps are remembered by branch and order, and the order of steps of two tasks is not the same each time, so
        each task needs a branch of its own. The same name gives the same branch. A branch of a branch is named by both.

        Args:
            name: 1 to 100 letters, digits, `_`, `-` or `.`; not `main`.
        """
        whole = name if self._branch == "main" else f"{self._branch}.{name}"
        if not _BRANCH.fullmatch(whole) or name == "main":
            reason = "must be 1 to 100 letters, digits, '_', '-' or '.', and not 'main'"
            raise StepCodecError(f"branch {name!r}", reason)
        if (branches := self._branches) is None:  # most sagas have none
            branches = self._branches = {}
        if (steps := branches.get(whole)) is None:
            steps = branches[whole] = Steps(self._run, whole, branches)
        return steps

    def __call__(
        self,
        function: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        undo: tuple[Callable[[*Us], Awaitable[object]], *Us] | None = None,
        retry: Retry | None = None,
        timeout_s: float | None = None,
    ) -> Coroutine[Any, Any, R]:
        """Do `await function(*args)` at most once as far as the saga's world can tell, and remember the answer.

        Before the call the step and its undo are on disk. The call carries the key `saga/step`, the same each time:
        after a crash it is made again if its answer was not on disk. If it fails for good the saga ends, and all that
        it began is undone, newest first, this step too. The step has its id when this returns, before it is awaited.

        How long it may take is said by `timeout_s` and `retry`. A body that cuts a step short itself, by
        `asyncio.timeout` or by cancelling the task that awaits it, would not do the same again: that is a bug
        (`StepCutError`), no later step begins, and the body runs again with the step under the same key.

        Args:
            function: A coroutine function with annotated positional parameters: a method of the saga's owner or of an
                attribute of it, or a function of a module.
            *args: Its arguments.
            undo: Function and arguments, likewise; it is made also for a step that was refused by a declared error or
                ran out of time. So it names the thing that both sides know (the order), not the answer, and accepts
                that nothing happened. None: there is nothing to undo.
            retry: None: the engine's, 5 attempts with exponential full jitter.
            timeout_s: Seconds per attempt, above 0. None: the engine's, 2.

        Raises:
            DomainError: The step answered with it; also from every later step. The saga is undone whatever follows.
            StepFailedError: It failed for good; likewise.
            StepCodecError: Function or arguments cannot be journaled.
            StepTooLargeError: Arguments or answer exceed the journal's limit.
        """
        run = self._run
        shared = run.shared
        operation = shared.operations.of(function)
        arguments = operation.codec.arguments_json(args)
        undoing = _NULL if undo is None else self._undo_json(undo[0], undo[1:])
        step = self._next(operation.name)
        shared.check_size(step, "arguments", len(arguments) + len(undoing))
        entry = None
        if (begun := self._begun()) is None:
            at_us = run.world.now_us()
            entry = begin_entry(step, self._ordinal, operation.name, arguments, undoing, at_us)
        else:
            self._compare(begun, step, arguments, undoing, operation)
            if begun.answer is not None:
                return cast("Coroutine[Any, Any, R]", _answered(self._recall(begun, operation)))
        effect = Effect(
            operation,
            args,
            call=function,
            name=step,
            run=run,
            retry=shared.settings.step_retry if retry is None else retry,
            timeout_s=shared.settings.timeout_s if timeout_s is None else timeout_s,
            given_up=run.halted,
        )
        return cast("Coroutine[Any, Any, R]", _perform(run, effect, entry))

    def child(
        self,
        method: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        id: str | None = None,
    ) -> Coroutine[Any, Any, R]:
        """Start a saga of the same engine as a step, wait for its end, and return its answer.

        It starts if and only if the step is on disk. Whoever waits does not count among the sagas that run at once.
        If this saga is undone so is the child, as a whole: cancelled where it is, or undone after it was done.

        Args:
            method: A coroutine function marked with `@saga`.
            *args: Its arguments.
            id: Of the child. None: made of this saga's id and the step's. One that is taken fails the step.

        Raises:
            DomainError: The child failed with it; also from every later step. This saga is undone whatever follows.
            StepFailedError: It failed otherwise, or was cancelled; likewise.
            StepCodecError: Not a saga, or the arguments do not fit its annotations.
        """
        run = self._run
        operation = run.shared.versions.of(method)
        arguments = operation.codec.arguments_json(args)
        step = self._next(operation.name)
        run.shared.check_size(step, "arguments", len(arguments))
        wanted = child_id(run.id, step) if id is None else id
        if (begun := self._begun()) is not None:
            self._compare(begun, step, arguments, _NULL, operation)
            if begun.child != wanted:
                raise self._changed(f"{step} as saga {begun.child}", f"saga {wanted}")
        child = Child(step, self._ordinal, operation, method, args, arguments, wanted)
        return cast("Coroutine[Any, Any, R]", follow(run, child, begun))

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait until `seconds` after the first time this was awaited, also across restarts.

        Sleepers do not count among the sagas that run at once, as long as there are not too many of them.

        Args:
            seconds: At least 0, finite.
        """
        if not 0 <= seconds < float("inf"):
            raise StepCodecError("sleep", f"seconds={seconds} must be at least 0 and finite")
        step = self._next("sleep")
        begun = self._begun()
        if begun is not None and begun.step != step:
            raise self._changed(begun.step, step)
        if begun is not None and begun.answer is not None:
            return _nothing()
        return _sleep(self._run, step, self._ordinal, seconds, None if begun is None else begun.until_us)

    def receive(self, name: str, kind: type[T], *, timeout_s: float | None = None) -> Coroutine[Any, Any, T]:
        """Wait for the next signal `name` (see `Sagas.signal`), also across restarts, and return its value.

        Signals of a name are received in the order in which they were sent, each once, also those that were sent
        before anybody asked. Whoever waits does not count among the sagas that run at once.

        Args:
            name: 1 to 100 letters, digits, `_`, `-` or `.`.
            kind: Type of the value.
            timeout_s: Seconds from the first time this was awaited, at least 0, finite. None: no limit.

        Raises:
            SignalLateError: None came in time. Caught, the saga goes on; let pass, everything it began is undone.
            StepCodecError: The value does not fit `kind`: a bug, of the sender or of the body.
        """
        if not _BRANCH.fullmatch(name):
            raise StepCodecError(f"signal {name!r}", "must be 1 to 100 letters, digits, '_', '-' or '.'")
        if timeout_s is not None and not 0 <= timeout_s < float("inf"):
            raise StepCodecError(f"signal {name!r}", f"timeout_s={timeout_s} must be at least 0 and finite")
        step = self._next(f"signal.{name}")
        begun = self._begun()
        if begun is not None and begun.step != step:
            raise self._changed(begun.step, step)
        return receive(self._run, Receipt(step, self._ordinal, name, timeout_s), begun, value_codec(step, kind))

    def _next(self, name: str) -> str:
        self._run.check()
        number = self._counts[name] = self._counts.get(name, 0) + 1
        self._ordinal += 1
        return f"{self._branch}/{name}#{number}"

    def _begun(self) -> Begun | None:
        past = self._run.past
        return None if past is None else past.take(self._branch, self._ordinal)

    def _undo_json(self, function: Callee, arguments: tuple[object, ...]) -> bytes:
        operation = self._run.shared.operations.of(function)
        return b'["%b",%b]' % (operation.name.encode(), operation.codec.arguments_json(arguments))

    def _compare(self, begun: Begun, step: str, arguments: bytes, undoing: bytes, operation: Operation) -> None:
        """Raise SagaChangedError unless the journal has this very step with these arguments and this undo."""
        if begun.step != step:
            raise self._changed(begun.step, step)
        if not same_arguments(operation.codec, arguments, begun.arguments):
            raise self._changed(f"{step} with {begun.arguments.decode()}", arguments.decode())
        operations = self._run.shared.operations
        if begun.undo is None or undoing == _NULL:
            same = begun.undo is None and undoing == _NULL
        else:
            head = b'["%b",' % begun.undo[0].encode()
            codec = operations.find(begun.undo[0]).codec if undoing.startswith(head) else None
            same = codec is not None and same_arguments(codec, undoing[len(head) : -1], begun.undo[1])
        if not same:
            was = "null" if begun.undo is None else f'["{begun.undo[0]}",{begun.undo[1].decode()}]'
            raise self._changed(f"{step} with undo {was}", undoing.decode())

    def _recall(self, begun: Begun, operation: Operation) -> object:
        try:
            return operation.codec.answer(begun.answer or _NULL)
        except StepCodecError as error:
            raise self._changed(f"{begun.step} with an answer", f"another type of answer ({error})") from error

    def _changed(self, journal: str, code: str) -> SagaChangedError:
        error = SagaChangedError(self._run.id, journal, code)
        self._run.halt = error
        return error


async def _answered(answer: object) -> object:
    return answer


async def _nothing() -> None:
    return None


async def _perform(run: Run, effect: Effect, entry: bytes | None, *, flying: bool = False) -> object:
    """Begin a step unless an earlier life did, make its effect, keep its answer."""
    in_body = context.running_task(asyncio.get_running_loop()) is run.saga.task
    if not in_body and not flying:
        return await _fly(run, effect, entry)
    token = world.set_current(run.world)
    try:
        if run.shared.draining:
            await run.flush()
            await run.shared.park(run.id)
        if run.saga.hold is not None:
            await run.saga.wait_while_held()
        run.check()  # it halted after the step was asked for: then the step never begins
        if entry is not None:
            world.point(BEFORE_BEGIN)
            if in_body and effect.covered_by(run.shared.atomic):
                effect.keep = await Keep.of(run, effect.operation, step=effect.name, entry=entry)
            else:
                await run.append(entry)
                world.point(AFTER_BEGIN)
                if run.halt is not None:
                    raise run.halt
        return await _make(run, effect)
    except asyncio.CancelledError:
        run.cut(effect.name)
        raise
    finally:
        world.leave(token)


async def _fly(run: Run, effect: Effect, entry: bytes | None) -> object:
    """Perform a step of a branch in a task of its own, which only the end of the engine cancels.

    A branch can be cancelled, by a TaskGroup whose other branch failed. Its step would go on behind the undo's back.
    """
    task = asyncio.create_task(_perform(run, effect, entry, flying=True))
    flying = run.flying = run.flying or set()
    flying.add(task)

    def landed(task: asyncio.Task[object]) -> None:
        flying.discard(task)
        if not task.cancelled():
            task.exception()  # seen: a branch that was cut does not await it any more, and the run knows of the cut

    task.add_done_callback(landed)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        run.cut(effect.name)
        raise


async def _make(run: Run, effect: Effect) -> object:
    shared, step, operation = run.shared, effect.name, effect.operation
    token = context.set_current(run.saga.call(key=f"{run.id}/{step}"))
    answer = failure = None
    try:
        with span(operation.span, ref=run.id, step=step) as work:
            effect.work = work
            try:
                answer = await effect.make()
                if effect.keep is None:
                    world.point(AFTER_EFFECT)
            except GivenUpError as gone:
                failure = gone.failure(run.id, step)
                work.fail(failure)
        if failure is not None:
            if effect.keep is not None:
                effect.keep.failed()
            run.fail(step, failure, attempts=effect.attempts)
            raise run.halt or failure
        if effect.keep is not None:
            effect.keep.done()
            return answer
        try:
            encoded, answer = operation.codec.kept(answer)
            shared.check_size(step, "the answer", len(encoded))
        except ConfigError as error:
            run.spoil(error)  # the effect is made, and nothing can be said of it
            raise
        run.pending.append(answer_entry(step, encoded, at_us=world.now_us(), attempts=effect.attempts))
        return answer
    finally:
        context.leave(token)


async def _sleep(run: Run, step: str, ordinal: int, seconds: float, until_us: int | None) -> None:
    run.check()
    try:
        with world.use(run.world):
            if until_us is None:
                now_us = world.now_us()
                until_us = now_us + int(seconds * 1_000_000)
                run.napping(step, Nap(until_us))
                try:
                    await run.append(sleep_entry(step, ordinal, until_us, at_us=now_us))
                finally:
                    run.woke(step)
            if until_us > world.now_us():
                await wait_for(run, step, Nap(until_us), _nothing)
    except asyncio.CancelledError:
        run.cut(step)
        raise
    if run.halt is not None:
        raise run.halt
    run.pending.append(answer_entry(step, _NULL, at_us=run.world.now_us()))
