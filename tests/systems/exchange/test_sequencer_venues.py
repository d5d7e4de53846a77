"""The real venues behind a sequencer: a restart, with a snapshot and without, comes to the same books and accounts."""

from itertools import islice
from pathlib import Path

import pytest

from archstone.systems.exchange.sequencer import DurableSequencer, SequencerSettings, VenueClass
from archstone.systems.exchange.venue import ReferenceVenue
from archstone.systems.exchange.venue.flows import venue_flow
from archstone.systems.exchange.venue.native import NativeVenue

SETTINGS = SequencerSettings(digest_commands=50, recent_commands=30)


def native() -> VenueClass:
    try:
        NativeVenue()
    except ImportError as error:
        pytest.skip(str(error))
    return NativeVenue


@pytest.mark.parametrize("then", ["reference", "native"])
@pytest.mark.parametrize("name", ["tight", "crash"])
async def test_a_restart_comes_to_the_same_books_and_accounts_in_python_and_in_c(
    tmp_path: Path, name: str, then: str
) -> None:
    again = ReferenceVenue if then == "reference" else native()
    async with DurableSequencer(tmp_path, ReferenceVenue, settings=SETTINGS) as sequencer:
        for number, timed in enumerate(islice(venue_flow(name, seed=7), 60)):
            await sequencer.submit(timed.commands)
            if number == 30:
                await sequencer.snapshot()
        last, state, digest = sequencer.last, sequencer.venue.dump(), sequencer.venue.digest()
        told = [batch.events async for batch in until(sequencer, last)]
    async with DurableSequencer(tmp_path, again, settings=SETTINGS) as sequencer:
        assert (sequencer.last, sequencer.venue.digest(), sequencer.venue.dump()) == (last, digest, state)
    for path in tmp_path.rglob("*.snapshot"):
        path.unlink()
    async with DurableSequencer(tmp_path, again, settings=SETTINGS) as sequencer:
        assert (sequencer.venue.digest(), sequencer.venue.dump()) == (digest, state)
        heard = [batch.events async for batch in until(sequencer, last)]
        assert [events.tobytes() for events in heard] == [events.tobytes() for events in told]


async def until(sequencer: DurableSequencer, last: int):
    """Give all batches up to a command; most of them are done again for it."""
    async for batch in sequencer.follow(0):
        yield batch
        if batch.last == last:
            return
