"""What can go wrong with a saga, by what the caller can do about it."""

from archstone.errors import ArchstoneError, ConfigError, ConflictError, NotFoundError, RejectedError, RemoteError

__all__ = [
    "NoSagaError",
    "SagaCancelledError",
    "SagaChangedError",
    "SagaEndedError",
    "SagaExistsError",
    "SagaLostError",
    "SagaNotCancellableError",
    "SagaNotForkableError",
    "SagaStuckError",
    "SagaUnknownError",
    "SagaVersionError",
    "SagasClosedError",
    "SignalExistsError",
    "SignalLateError",
    "StepCodecError",
    "StepCutError",
    "StepFailedError",
    "StepTooLargeError",
    "WorldInSagaError",
]


class SagaLostError(ArchstoneError, code="sagas.lost"):
    """Another worker has taken a saga over from this process, which seemed dead; nothing more of it is written here."""

    def __init__(self, saga: str) -> None:
        super().__init__(saga)
        self.saga = saga

    def __str__(self) -> str:
        return f"saga {self.saga!r} goes on in another process, since this one gave no sign of life in time"


class SagaStuckError(RemoteError, code="sagas.stuck"):
    """The saga stopped and waits for a person. What it began is neither finished nor undone."""

    def __init__(self, saga: str, why: str) -> None:
        super().__init__(saga, why)
        self.saga = saga
        self.why = why

    def __str__(self) -> str:
        return f"saga {self.saga!r} is stuck: {self.why}; mend the cause, then resume it by hand"


class StepFailedError(RemoteError, code="sagas.step-failed"):
    """A step failed for good. It may have taken effect; everything that its saga began is undone."""

    def __init__(self, saga: str, step: str, attempts: int, cause: str) -> None:
        super().__init__(saga, step, attempts, cause)
        self.saga = saga
        self.step = step
        self.attempts = attempts
        """Attempts made by the last process that tried; earlier ones may have died trying."""
        self.cause = cause

    def __str__(self) -> str:
        return (
            f"saga {self.saga!r}, step {self.step}: failed for good after {self.attempts} attempt(s), {self.cause}; "
            f"what the saga began is undone, start another one when the cause is mended"
        )


class SagaCancelledError(RemoteError, code="sagas.cancelled"):
    """A person cancelled the saga. Everything that it began is undone."""

    def __init__(self, saga: str, by: str) -> None:
        super().__init__(saga, by)
        self.saga = saga
        self.by = by

    def __str__(self) -> str:
        return f"cancelled by {self.by}: what saga {self.saga!r} began is undone"


class SagaNotCancellableError(ConflictError, code="sagas.not-cancellable"):
    """The saga cannot be cancelled as it is now. Nothing was done, and it goes on as before."""

    def __init__(self, saga: str, why: str) -> None:
        super().__init__(saga, why)
        self.saga = saga
        self.why = why

    def __str__(self) -> str:
        return f"saga {self.saga!r} is not cancelled: {self.why}"


class SagaNotForkableError(ConflictError, code="sagas.not-forkable"):
    """The saga cannot be forked from this step. Nothing was done."""

    def __init__(self, saga: str, step: str, why: str) -> None:
        super().__init__(saga, step, why)
        self.saga = saga
        self.step = step
        self.why = why

    def __str__(self) -> str:
        return f"saga {self.saga!r} is not forked from step {self.step}: {self.why}; nothing was done"


class SagaExistsError(ConflictError, code="sagas.exists"):
    """A saga of this id exists with another method or other arguments. Nothing was started."""

    def __init__(self, saga: str, method: str, wanted: str) -> None:
        super().__init__(saga, method, wanted)
        self.saga = saga
        self.method = method
        self.wanted = wanted

    def __str__(self) -> str:
        what = "with other arguments" if self.method == self.wanted else f"as {self.method!r}, not {self.wanted!r}"
        return f"saga {self.saga!r} was already started {what}; nothing was started, choose another id"


class SagaUnknownError(NotFoundError, code="sagas.unknown"):
    """There is no saga of this id: never started, or swept after its retention."""

    def __init__(self, saga: str, wanted: str = "any state") -> None:
        super().__init__(saga, wanted)
        self.saga = saga
        self.wanted = wanted

    def __str__(self) -> str:
        return f"no saga {self.saga!r} in {self.wanted}; it was never started there, or is past its retention"


class SagaEndedError(ConflictError, code="sagas.ended"):
    """The saga has ended, so nothing can reach it any more. Nothing was done."""

    def __init__(self, saga: str, ending: str) -> None:
        super().__init__(saga, ending)
        self.saga = saga
        self.ending = ending
        """`done` or `failed`."""

    def __str__(self) -> str:
        return f"saga {self.saga!r} has ended: it is {self.ending}; nothing was done, look whether it still matters"


class SignalExistsError(ConflictError, code="sagas.signal-exists"):
    """A signal of this key was sent to the saga before, with another value. Nothing was sent."""

    def __init__(self, saga: str, signal: str, key: str) -> None:
        super().__init__(saga, signal, key)
        self.saga = saga
        self.signal = signal
        self.key = key

    def __str__(self) -> str:
        return (
            f"saga {self.saga!r} has a signal {self.signal!r} with key {self.key!r} and another value; nothing was "
            f"sent, give each signal a key of its own"
        )


class SignalLateError(RemoteError, code="sagas.signal-late"):
    """A signal did not come in time. If the body lets this pass, everything that its saga began is undone."""

    def __init__(self, saga: str, step: str, timeout_s: float) -> None:
        super().__init__(saga, step, timeout_s)
        self.saga = saga
        self.step = step
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return (
            f"saga {self.saga!r}, step {self.step}: the signal did not come within {self.timeout_s:g} s; what the saga "
            f"began is undone unless its body catches this"
        )


class SagasClosedError(RejectedError, code="sagas.closed"):
    """The engine is not open, or closed while somebody waited. The saga goes on when it opens again."""

    def __init__(self, engine: str, saga: str) -> None:
        super().__init__(engine, saga)
        self.engine = engine
        self.saga = saga

    def __str__(self) -> str:
        return f"sagas {self.engine!r} are closed: saga {self.saga!r} goes on when they open again, ask for it then"


class SagaChangedError(ConfigError, code="sagas.code-changed"):
    """The code does not ask for what the journal says it asked for before. The saga stops as stuck."""

    def __init__(self, saga: str, journal: str, code: str) -> None:
        super().__init__(saga, journal, code)
        self.saga = saga
        self.journal = journal
        self.code_says = code

    def __str__(self) -> str:
        return (
            f"code changed: the journal of saga {self.saga!r} has {self.journal}, the code has {self.code_says}; "
            f"put back code that fits, then resume it"
        )


class SagaVersionError(ConfigError, code="sagas.version"):
    """A saga was begun by a version of its function that the code does not have. It stops as stuck."""

    def __init__(self, method: str, version: int, there: tuple[int, ...]) -> None:
        super().__init__(method, version, there)
        self.method = method
        self.version = version
        self.there = there
        """Versions that the code has, lowest first."""

    def __str__(self) -> str:
        there = ", ".join(map(str, self.there))
        name = self.method.rpartition(":")[2].rpartition(".")[2]
        return (
            f"it needs version {self.version} of {self.method}, the code has version {there}: put the function with "
            f"which it began back beside the newer one, as @saga(name={name!r}, version={self.version}), then resume it"
        )


class WorldInSagaError(ConfigError, code="sagas.world-in-body"):
    """A saga's body asked the world for time or chance, which a replay could not repeat."""

    def __init__(self, asked: str) -> None:
        super().__init__(asked)
        self.asked = asked

    def __str__(self) -> str:
        return (
            f"a saga body used world.{self.asked}: it would differ when the body runs again; use self.step.now for "
            f"the time, self.step.sleep to wait, self.step.id for an id, or a step for anything else"
        )


class NoSagaError(ConfigError, code="sagas.no-saga"):
    """Steps were asked for outside a running saga body."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what}: no saga body runs here; start the method with Sagas.start or Sagas.run"


class StepCodecError(ConfigError, code="sagas.step-codec"):
    """A callable cannot be a step, an undo or a saga, or one of its values cannot be journaled."""

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(operation, reason)
        self.operation = operation
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.operation}: {self.reason}"


class StepCutError(ConfigError, code="sagas.step-cut"):
    """The body cut a step short, by a time-out or a cancellation of its own, which a replay could not repeat."""

    def __init__(self, saga: str, step: str) -> None:
        super().__init__(saga, step)
        self.saga = saga
        self.step = step

    def __str__(self) -> str:
        return (
            f"the body of saga {self.saga!r} cut step {self.step} short: whether it took effect is not known, and the "
            f"body would not do the same again; give the step its own `timeout_s` and `retry` instead"
        )


class StepTooLargeError(ConfigError, code="sagas.too-large"):
    """Arguments or an answer exceed what the journal takes."""

    def __init__(self, step: str, what: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(step, what, size_bytes, limit_bytes)
        self.step = step
        self.what = what
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return (
            f"{self.step}: {self.what} take {self.size_bytes} bytes in the journal, limit {self.limit_bytes}; "
            f"store the data elsewhere and pass its id"
        )
