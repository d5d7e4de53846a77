"""One seed, one trace: in any process, under any PYTHONHASHSEED; and what a seed does not decide shows."""

import asyncio
import os
import sqlite3
import subprocess
import sys

import pytest

from archstone import simulation, world
from archstone.observability.recorders import recorders
from archstone.observability.span import span

PROGRAM = """
import asyncio, sqlite3, sys
from archstone import simulation, world
from archstone.observability.recorders import recorders
from archstone.observability.span import span

planted = sys.argv[2] == "planted"

async def main():
    connection = sqlite3.connect(":memory:")
    connection.set_trace_callback(world.current().trace_sql)
    connection.execute("CREATE TABLE seen (id, what, at)")
    async def work(number):
        with span("work", ref=f"order {number}", number=number):
            await asyncio.sleep(world.random().random())
            connection.execute("INSERT INTO seen VALUES (?, ?, ?)", (world.new_id(), number, world.now_us()))
            await asyncio.to_thread(len, "abc")
    names = {f"name {number}" for number in range(20)}
    for name in names if planted else sorted(names):
        asyncio.get_running_loop().call_soon(connection.execute, "INSERT INTO seen VALUES (0, ?, 0)", (name,))
        await asyncio.sleep(0)
    # Cancelled by the group, which keeps its tasks in a set.
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(work(number))
            await asyncio.sleep(0.5)
            raise KeyError
    except ExceptionGroup:
        pass
    await asyncio.wait([asyncio.ensure_future(work(number)) for number in range(10)])
    connection.close()

trace = simulation.Trace()
simulation.run(main, seed=int(sys.argv[1]), trace=trace)
print(trace.digest(), sorted(trace.kinds.items()))
"""


def traced(seed: int, hash_seed: int, *, planted: bool = False) -> str:
    """Run the program in a process of its own and return the digest of its trace."""
    command = [sys.executable, "-c", PROGRAM, str(seed), "planted" if planted else "clean"]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_same_seed_gives_the_same_trace_in_two_processes_with_different_hash_seeds() -> None:
    first = traced(7, 1)
    assert first == traced(7, 2)
    assert "'callback'" in first
    assert "'sql'" in first
    assert "'span'" in first


def test_another_seed_gives_another_trace() -> None:
    assert traced(7, 1) != traced(8, 1)


def test_a_planted_iteration_over_a_set_of_strings_changes_the_trace() -> None:
    assert traced(7, 1, planted=True) != traced(7, 2, planted=True)


def test_a_kept_trace_shows_the_first_difference() -> None:
    def kept(seconds: float) -> simulation.Trace:
        trace = simulation.Trace(keep=True)
        simulation.run(lambda: asyncio.sleep(seconds), trace=trace)
        return trace

    assert simulation.first_difference(kept(1), kept(1)) is None
    assert "callback (1.0, " in str(simulation.first_difference(kept(1), kept(2)))


def test_no_record_holds_an_address() -> None:
    class Thing:
        def __call__(self) -> None: ...

        def method(self) -> None: ...

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for callback in (Thing(), Thing().method, lambda: None, print, {}.clear):
            loop.call_soon(callback)
        await asyncio.gather(asyncio.sleep(1), asyncio.to_thread(len, ""))

    trace = simulation.Trace(keep=True)
    simulation.run(main, trace=trace)
    assert trace.records
    assert [record for record in trace.records if "0x" in record] == []


def test_sql_spans_and_messages_are_part_of_the_trace() -> None:
    def digest(sql: str, name: str, payload: bytes) -> str:
        async def main() -> None:
            connection = sqlite3.connect(":memory:")
            connection.set_trace_callback(world.current().trace_sql)  # type: ignore[attr-defined]
            connection.execute(sql, (3,))
            connection.close()
            with span(name, size=3):
                pass
            world.current().trace.message("orders", "id", payload)  # type: ignore[attr-defined]

        trace = simulation.Trace()
        simulation.run(main, trace=trace)
        return trace.digest()

    plain = digest("SELECT ?", "a", b"x")
    assert plain == digest("SELECT ?", "a", b"x")
    assert (
        len({plain, digest("SELECT ? + 1", "a", b"x"), digest("SELECT ?", "b", b"x"), digest("SELECT ?", "a", b"y")})
        == 4
    )


def test_records_that_join_to_one_text_are_told_apart() -> None:
    one, other = simulation.Trace(), simulation.Trace()
    one.add("kind", "a", "b")
    other.add("kind", "a, b")
    assert one.digest() != other.digest()


def test_a_traced_run_leaves_recorders_and_collector_as_they_were() -> None:
    before = recorders()
    with pytest.raises(KeyError):
        simulation.run(failing, trace=simulation.Trace())
    assert recorders() == before


async def failing() -> None:
    raise KeyError
