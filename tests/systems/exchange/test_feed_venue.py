"""The public image of the books is what the whole venue shows: with risk, breakers, and operators at work."""

from itertools import islice

import numpy as np
import pytest

from archstone.systems.exchange.entry import Reports
from archstone.systems.exchange.feed import BookImage
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.sequencer import Batch, MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue

flows = pytest.importorskip("archstone.systems.exchange.venue.flows")


@pytest.mark.parametrize("name", ["quiet", "tight", "crash", "many"])
def test_depth_is_that_of_the_venue_after_any_batch(name: str) -> None:
    venue, image = ReferenceVenue(), BookImage()
    reports = Reports(MemorySequencer(venue))
    following = 1
    for commands, at_ns in islice(flows.venue_flow(name, seed=1), 50):
        kept = commands.copy()
        kept["sequence"] = np.arange(following, following + len(kept))
        batch = Batch(following, at_ns, kept, venue.apply(kept, at_ns))
        following += len(kept)
        image.apply(batch)
        reports.take(batch)
        for book in image.books:
            depth = image.depth(book)
            assert [*depth.buys] == venue.depth(book, Side.BUY, 10**9)
            assert [*depth.sells] == venue.depth(book, Side.SELL, 10**9)
        assert len(image) == len(reports._live) == len(venue)
