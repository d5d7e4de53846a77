"""Durable steps with compensation: methods whose steps are remembered, resumed after a crash, undone on failure.

    saga, current_step        mark a method as a saga, reach its steps
    Queue                     in which sagas wait before they begin
    Sagas, SagaSettings       start them, wait for them, list, inspect, signal, resume, fork and sweep them
    Steps                     what `self.step` is: call, branch, sleep, receive, now, id
    SagaInfo, StepInfo, ...   what one sees from outside
    TwoPhase                  a transaction over several databases, where no interim state may ever be seen

Start with `Sagas`. Do not use a saga where one transaction of one database does.
"""

from archstone.sagas.errors import (
    NoSagaError,
    SagaCancelledError,
    SagaChangedError,
    SagaEndedError,
    SagaExistsError,
    SagaLostError,
    SagaNotCancellableError,
    SagaNotForkableError,
    SagasClosedError,
    SagaStuckError,
    SagaUnknownError,
    SagaVersionError,
    SignalExistsError,
    SignalLateError,
    StepCodecError,
    StepCutError,
    StepFailedError,
    StepTooLargeError,
    WorldInSagaError,
)
from archstone.sagas.info import SagaInfo, SagaStatistics, SagaStatus, StepInfo, StepState
from archstone.sagas.operations import Invoke
from archstone.sagas.participants import Participant, Prepared, Reserving
from archstone.sagas.queue import Queue
from archstone.sagas.saga import SagaMark, current_step, saga, saga_mark
from archstone.sagas.sagas import Sagas
from archstone.sagas.settings import SagaSettings
from archstone.sagas.steps import Steps
from archstone.sagas.two_phase import InDoubt, TwoPhase

__all__ = [
    "InDoubt",
    "Invoke",
    "NoSagaError",
    "Participant",
    "Prepared",
    "Queue",
    "Reserving",
    "SagaCancelledError",
    "SagaChangedError",
    "SagaEndedError",
    "SagaExistsError",
    "SagaInfo",
    "SagaLostError",
    "SagaMark",
    "SagaNotCancellableError",
    "SagaNotForkableError",
    "SagaSettings",
    "SagaStatistics",
    "SagaStatus",
    "SagaStuckError",
    "SagaUnknownError",
    "SagaVersionError",
    "Sagas",
    "SagasClosedError",
    "SignalExistsError",
    "SignalLateError",
    "StepCodecError",
    "StepCutError",
    "StepFailedError",
    "StepInfo",
    "StepState",
    "StepTooLargeError",
    "Steps",
    "TwoPhase",
    "WorldInSagaError",
    "current_step",
    "saga",
    "saga_mark",
]
