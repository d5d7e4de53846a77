"""Historical files for tests, made of what our own bots did."""

import functools
import gzip
import io
from pathlib import Path
from random import Random

import numpy as np
from bot_markets import make_market

from archstone import simulation
from archstone.systems.exchange.bots import Bot, Maker, Market, Noise, Slow, Walk
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.replaying import (
    MESSAGE,
    Happened,
    Messages,
    Recorder,
    Report,
    replay,
    with_rows,
    write_itch,
    write_lobster,
)
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue

__all__ = ["SYMBOLS", "added", "itch_bytes", "lobster_files", "recorded", "replayed", "told"]

SYMBOLS = {1: "LAMP"}


def busy_crew(market: Market, seed: str) -> list[Bot]:
    """Few quotes and many trades."""
    noise = [Noise(random=Random(f"{seed}/{each}"), every_s=1.0) for each in range(4)]
    return [Maker(walk=Walk(market, seed=seed), levels=2), *noise, Slow(random=Random(seed), pause_ratio=0, every_s=4)]


@functools.cache
def recorded() -> Messages:
    """What bots did in half a minute, as messages; at the end nothing is open."""
    made = simulation.run(make_market(30, crew=busy_crew))
    recorder = Recorder()
    return np.concatenate([recorder.recorded(batch) for batch in made.batches])


def told(*fields: dict[str, int]) -> Messages:
    """Messages of book 1."""
    messages = np.zeros(len(fields), MESSAGE)
    messages["book"] = 1
    for message, given in zip(messages, fields, strict=True):
        for name, value in given.items():
            message[name] = value
    return messages


def added(id: int, side: Side, price: int, quantity: int) -> dict[str, int]:
    return {"kind": Happened.ADDED, "id": id, "side": side, "price": price, "quantity": quantity}


def itch_bytes(messages: Messages, *, end: bool = True) -> bytes:
    """Messages as a file of ITCH."""
    file = io.BytesIO()
    write_itch(file, messages, SYMBOLS)
    return file.getvalue() + bytes(2 if end else 0)


def lobster_files(folder: Path, messages: Messages, *, levels: int = 5, skip: int = 0, packed: bool = False) -> Path:
    """Write a pair of files that begins after `skip` of the messages that LOBSTER keeps; return the one of messages."""
    kept, rows = with_rows(messages, levels=levels)
    first, second = io.StringIO(), io.StringIO()
    write_lobster(first, second, kept[skip:], rows[skip:])
    name = f"LAMP_2026-01-01_0_86400000_{{}}_{levels}.csv"
    for what, text in (("message", first), ("orderbook", second)):
        data = text.getvalue().encode()
        path = folder / (name.format(what) + (".gz" if packed else ""))
        path.write_bytes(gzip.compress(data) if packed else data)
    return folder / (name.format("message") + (".gz" if packed else ""))


async def replayed(pieces, *, check: bool = True, batch: int = 100, **more) -> tuple[Report, ReferenceVenue]:
    """Replay into a venue of its own."""
    venue = ReferenceVenue()
    sequencer = MemorySequencer(venue)
    return await replay(pieces, sequencer, depths=venue if check else None, batch=batch, **more), venue
