"""Who decides what comes first: one sequence for all commands, kept before it is acted upon.

Sequencer           the port: commands in, what became of them out, and the whole stream to follow
MemorySequencer     keeps nothing: for trying, and for tests of what reads the stream

Whoever reads the stream, the same batches in the same order, comes to the same state.
"""

from archstone.systems.exchange.sequencer.memory import MemorySequencer
from archstone.systems.exchange.sequencer.port import Batch, Sequencer

__all__ = ["Batch", "MemorySequencer", "Sequencer"]
