"""What a window must not lose when messages are committed while it reads; the rest is shown against the model."""

from pathlib import Path

from archstone.messaging import Bus, Channel
from archstone.messaging.brokers.sqlite import Sizes, SqliteBroker
from archstone.messaging.brokers.window import Window
from archstone.messaging.lane import Lane, Row
from archstone.messaging.testing import envelope

SIZES = Sizes(window=2, per_key=1, chunk=1)


def window() -> Window:
    return Window(Lane(Channel("t", "g"), None), 1, sizes=SIZES)


def row(position: int, key: str | None = None) -> Row:
    return Row(envelope("t", position, key=key), position)


def positions(one: Window) -> list[int]:
    return [int(delivery.envelope.payload) for delivery in one.lane.take(100, lease_s=10.0)]


def free(one: Window) -> None:
    for token in list(one.lane.leased):
        gone = one.lane.remove(token)
        assert gone is not None
        one.gone(gone)


def test_what_is_committed_during_a_read_is_read_next():
    one = window()
    for position in (1, 2, 3):
        one.committed(row(position))
    assert positions(one) == [1, 2]
    free(one)
    assert one.hungry
    tail = one.tail
    # The snapshot of this read is made here; 4 is committed before the answer comes.
    one.committed(row(4))
    one.read([(row(3), None)], tail=tail)
    one.read([], tail=tail)
    assert one.hungry
    one.read([(row(4), None)], tail=one.tail)
    assert positions(one) == [3, 4]


def test_what_is_committed_while_a_spilled_key_is_read_is_read_next():
    one = Window(Lane(Channel("t", "g"), None), 1, sizes=Sizes(window=10, per_key=2, chunk=1))
    for position in range(1, 5):
        one.committed(row(position, "k"))
    for _ in range(3):
        positions(one)
        free(one)
    assert list(one.thirsty) == ["k"]
    until = one.spilled["k"].last
    one.committed(row(5, "k"))
    one.read_key("k", [(row(4, "k"), None)], until=until)
    assert positions(one) == [4]
    free(one)
    assert (one.spilled["k"].first, one.spilled["k"].last) == (5, 5)
    assert list(one.thirsty) == ["k"]


async def test_a_blocked_key_with_a_long_tail_starves_no_other(tmp_path: Path):
    broker = SqliteBroker(f"sqlite:///{tmp_path}/bus.db", sizes=Sizes(window=50, per_key=5, chunk=10))
    channel = Channel("t", "g")
    async with Bus(broker):
        await broker.declare(channel, names=None)
        await broker.send([envelope("t", number, key="blocked") for number in range(500)])
        (first,) = await broker.lease(channel, limit=1, lease_s=1000.0)
        await broker.send([envelope("t", number, key="free") for number in range(100)])
        came: list[int] = []
        while leased := await broker.lease(channel, limit=10, lease_s=1000.0):
            came += [int(delivery.envelope.payload) for delivery in leased]
            await broker.settle(channel, leased)
        assert came == list(range(100))
        await broker.settle(channel, [first])
        came.clear()
        while leased := await broker.lease(channel, limit=10, lease_s=1000.0):
            came += [int(delivery.envelope.payload) for delivery in leased]
            await broker.settle(channel, leased)
        assert came == list(range(1, 500))
