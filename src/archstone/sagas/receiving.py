"""A step that waits for a signal: what is on disk before, while and after it waits.

That it waits is written first, with the instant at which its time is up, so that neither a crash nor a restart gives it
more. That it has its signal is written in one transaction with the signal's own row, before the body hears of it: a
crash before that leaves the signal to the next life, and a crash after it leaves the answer in the journal.
"""

import asyncio
from typing import Any, NamedTuple

from archstone import world
from archstone.sagas.codec import Values
from archstone.sagas.errors import SignalLateError, StepCodecError
from archstone.sagas.journal import Begun, answer_entry, late_entry, signal_entry
from archstone.sagas.points import AFTER_TAKE, AFTER_WAIT, BEFORE_TAKE
from archstone.sagas.rows import Nap
from archstone.sagas.run import Run
from archstone.sagas.signals import Signal
from archstone.sagas.waiting import wait_for

__all__ = ["Receipt", "receive"]


class Receipt(NamedTuple):
    """A wait for a signal, as the body asked for it."""

    step: str
    ordinal: int
    name: str
    timeout_s: float | None


async def receive(run: Run, receipt: Receipt, begun: Begun | None, codec: Values) -> Any:
    """Return the value of the signal that an earlier life got, or of the next."""
    run.check()
    step = receipt.step
    if begun is not None and begun.late:
        raise SignalLateError(run.id, step, receipt.timeout_s or 0.0)
    if begun is not None and begun.answer is not None:
        return _decoded(run, codec, begun.answer)
    try:
        with world.use(run.world):
            until_us = await _wait_begun(run, receipt, begun)
            nap = Nap(until_us, receipt.name)
            signal = await wait_for(run, step, nap, lambda: _claimed(run, receipt.name))
            if signal is None:
                run.pending.append(late_entry(step, at_us=world.now_us()))
                raise SignalLateError(run.id, step, receipt.timeout_s or 0.0)
            return await _take(run, step, signal, codec)
    except asyncio.CancelledError:
        run.cut(step)
        raise


async def _wait_begun(run: Run, receipt: Receipt, begun: Begun | None) -> int | None:
    """Write that a wait has begun unless an earlier life did; return when it ends."""
    if begun is not None:
        return begun.until_us
    now_us = world.now_us()
    until_us = None if receipt.timeout_s is None else now_us + int(receipt.timeout_s * 1_000_000)
    run.napping(receipt.step, Nap(now_us))
    try:
        await run.append(signal_entry(receipt.step, receipt.ordinal, receipt.name, until_us, at_us=now_us))
    finally:
        run.woke(receipt.step)
    world.point(AFTER_WAIT)
    return until_us


async def _claimed(run: Run, name: str) -> Signal | None:
    """Return the next signal, which no other branch takes then; None if there is none."""
    signal = await run.shared.signals.oldest(run.id, name, but=run.claims)
    while signal is not None and signal.number in run.claims:  # another branch was quicker
        signal = await run.shared.signals.oldest(run.id, name, but=run.claims)
    if signal is not None:
        run.claims |= {signal.number}
    return signal


async def _take(run: Run, step: str, signal: Signal, codec: Values) -> object:
    """Write that the saga has a signal, and return its value."""
    try:
        value = _decoded(run, codec, signal.value)
        if run.shared.draining:
            await run.flush()
            await run.shared.park(run.id)
        if run.saga.hold is not None:
            await run.saga.wait_while_held()
        run.check()
        world.point(BEFORE_TAKE)
        entry = answer_entry(step, signal.value, at_us=world.now_us())
        await run.append(entry, also=lambda tx: run.shared.signals.take(tx, signal.number))
        world.point(AFTER_TAKE)
        return value
    finally:
        run.claims -= {signal.number}


def _decoded(run: Run, codec: Values, encoded: bytes) -> object:
    try:
        return codec.decode(encoded, "the value does")
    except StepCodecError as error:
        run.spoil(error)
        raise
