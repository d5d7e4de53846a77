"""The pool of connections to PostgreSQL: no link is lost, no bound exceeded, nobody forgotten, whoever is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from archstone import world
from archstone.data import ConnectionFailedError, DatabaseClosedError
from archstone.data.engines.postgresql.link import Link
from archstone.data.engines.postgresql.pool import Pool
from archstone.data.engines.postgresql.url import PostgresOptions

OPTIONS = PostgresOptions(pool_size=1, pool_overflow=0, pool_timeout_s=10.0, pool_pre_ping_s=5.0)


class Wire:
    """A connection without a server: it counts itself."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._closed = False
        server.open += 1
        server.most = max(server.most, server.open)

    async def execute(self, text: str) -> str:
        await asyncio.sleep(self._server.answer_s)
        if self._closed:
            raise ConnectionResetError
        return text

    def is_closed(self) -> bool:
        return self._closed

    def is_in_transaction(self) -> bool:
        return False

    def terminate(self) -> None:
        self._closed = True
        self._server.open -= 1


class Server:
    """Counts the connections to it; how long it takes to connect and to answer can be said."""

    def __init__(self) -> None:
        self.open = self.most = 0
        self.connect_s = self.answer_s = 0.0

    async def connect(self) -> Link:
        await asyncio.sleep(self.connect_s)
        return Link(Wire(self), made_s=world.monotonic())  # type: ignore[arg-type]

    def pool(self, options: PostgresOptions = OPTIONS) -> Pool:
        return Pool(self.connect, label="x", loop=asyncio.get_running_loop(), options=options)


async def waiting(take: Callable[[], Awaitable[Link]]) -> "asyncio.Task[Link]":
    task: asyncio.Task[Link] = asyncio.create_task(take())  # type: ignore[arg-type]
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def given_back_later(pool: Pool) -> None:
    link = await pool.take()
    await asyncio.sleep(1)  # what was given back at the instant it was made is not tried
    pool.give(link)


async def test_a_link_that_comes_in_the_moment_of_the_time_out_is_not_lost():
    server = Server()
    pool = server.pool()
    link, loop = await pool.take(), asyncio.get_running_loop()
    # In one turn of the loop: the link is handed over, and then the time is out.
    loop.call_at(loop.time() + OPTIONS.pool_timeout_s, pool.give, link)
    late = await waiting(pool.take)
    await asyncio.wait([late])
    if late.exception() is None:
        pool.give(late.result())
    assert await pool.take() is link
    assert server.open == 1


async def test_a_link_handed_to_who_is_cancelled_goes_to_the_next():
    server = Server()
    pool = server.pool()
    link = await pool.take()
    first, second = await waiting(pool.take), await waiting(pool.take)
    pool.give(link)
    first.cancel()
    assert await second is link
    assert (first.cancelled(), server.most) == (True, 1)


async def test_who_is_cancelled_while_connecting_leaves_the_place_to_the_next():
    server = Server()
    server.connect_s = 1.0
    pool = server.pool()
    first, second = await waiting(pool.take), await waiting(pool.take)
    first.cancel()
    async with asyncio.timeout(OPTIONS.pool_timeout_s / 2):
        pool.give(await second)
    assert (first.cancelled(), server.open) == (True, 1)


async def test_a_place_that_was_promised_is_not_taken_by_another():
    server = Server()
    pool = server.pool()
    link = await pool.take()
    first = await waiting(pool.take)
    second = asyncio.create_task(pool.take())  # its turn comes before that of the one who is called
    link.end()
    pool.give(link)  # closed: the one who waits may open one
    pool.give(await first)
    pool.give(await second)
    assert server.most == 1


async def test_a_place_promised_to_who_is_cancelled_goes_to_the_next():
    server = Server()
    pool = server.pool()
    link = await pool.take()
    first, second = await waiting(pool.take), await waiting(pool.take)
    link.end()
    pool.give(link)
    first.cancel()
    async with asyncio.timeout(OPTIONS.pool_timeout_s / 2):
        pool.give(await second)
    assert (server.most, pool.open) == (1, 1)


async def test_a_link_that_is_tried_or_handed_over_counts():
    server = Server()
    pool = server.pool()
    await given_back_later(pool)
    await asyncio.sleep(OPTIONS.pool_pre_ping_s + 1)
    server.answer_s = 1.0
    first = await waiting(pool.take)  # tries the idle one
    second = await waiting(pool.take)
    pool.give(await first)
    third = await waiting(pool.take)
    pool.give(await second)
    pool.give(await third)
    assert server.most == 1


async def test_closing_closes_what_is_just_handed_over_or_tried():
    server = Server()
    pool = server.pool(replace(OPTIONS, pool_size=2))
    links = [await pool.take(), await pool.take()]
    handed = await waiting(pool.take)
    pool.give(links.pop())
    pool.end()
    with pytest.raises(DatabaseClosedError):
        await handed
    assert server.open == 0

    pool = server.pool()
    await given_back_later(pool)
    await asyncio.sleep(OPTIONS.pool_pre_ping_s + 1)
    server.answer_s = 1.0
    tried = await waiting(pool.take)
    pool.end()
    with pytest.raises(DatabaseClosedError):
        await tried
    assert server.open == 0


async def test_who_gave_up_waiting_is_not_counted_as_waiting():
    server = Server()
    pool = server.pool()
    link = await pool.take()
    with pytest.raises(ConnectionFailedError, match="no connection of 1 became free in 10 s"):
        await pool.take()
    cancelled = await waiting(pool.take)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert pool.waiting == 0
    pool.give(link)


async def test_a_server_that_refuses_is_told_to_each_who_waits_and_no_place_is_lost():
    server = Server()
    pool = server.pool()

    async def refused() -> Link:
        await asyncio.sleep(1.0)
        raise ConnectionRefusedError

    pool._connect = refused  # pyright: ignore[reportPrivateUsage]
    tasks = [await waiting(pool.take) for _ in range(3)]
    await asyncio.wait(tasks)
    assert [type(task.exception()) for task in tasks] == [ConnectionFailedError] * 3
    assert (pool.open, pool.waiting) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_cancelled_nothing_is_lost_and_no_bound_exceeded(seed: int):
    server = Server()
    server.connect_s = server.answer_s = 0.01
    options = replace(OPTIONS, pool_size=2, pool_overflow=1, pool_timeout_s=0.3, pool_pre_ping_s=0.05)
    pool = server.pool(options)
    chance = world.random()

    async def use() -> None:
        try:
            link = await pool.take()
        except ConnectionFailedError:
            return
        try:
            await asyncio.sleep(chance.choice([0, 0.01, 0.1, 0.3]))
        finally:
            if chance.random() < 0.2:
                link.end()
            pool.give(link)

    tasks: list[asyncio.Task[None]] = []
    for _ in range(200 + seed):
        tasks.append(asyncio.create_task(use()))
        await asyncio.sleep(chance.choice([0, 0, 0.01, 0.05]))
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
    await asyncio.wait(tasks)
    assert server.most <= 3
    assert (pool.open, pool.waiting) == (server.open, 0)
    pool.end()
    assert server.open == 0
