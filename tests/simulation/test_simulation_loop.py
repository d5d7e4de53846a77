"""Virtual time, seeded order, and what a virtual loop refuses."""

import asyncio
import threading

import pytest

from archstone import simulation, world


def order_of(seed: int | None, count: int = 8) -> list[int]:
    async def main() -> list[int]:
        seen: list[int] = []

        async def mark(number: int) -> None:
            seen.append(number)

        await asyncio.gather(*(mark(number) for number in range(count)))
        return seen

    return simulation.run(main, seed=seed)


async def test_sleeping_takes_exactly_its_virtual_time() -> None:
    before_s = world.monotonic()
    await asyncio.sleep(86.4)
    assert world.monotonic() - before_s == 86.4


def test_without_a_seed_callbacks_run_in_the_order_of_arrival() -> None:
    assert order_of(None) == list(range(8))


def test_one_seed_always_gives_one_order_and_another_seed_another() -> None:
    assert order_of(1) == order_of(1)
    assert len({tuple(order_of(seed)) for seed in range(10)}) > 5


def test_timers_of_one_instant_run_in_the_order_they_were_set() -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        loop = asyncio.get_running_loop()
        for number in range(20):
            loop.call_at(5.0, seen.append, number)
        await asyncio.sleep(6)
        return seen

    assert simulation.run(main, seed=None) == list(range(20))


def test_a_timer_that_is_due_does_not_wait_for_the_ready_ones_to_dry_up() -> None:
    async def main() -> bool:
        fired = asyncio.Event()
        asyncio.get_running_loop().call_later(0, fired.set)
        for _ in range(5):
            await asyncio.sleep(0)
        return fired.is_set()

    assert simulation.run(main)


def test_a_cancelled_timer_never_runs_and_does_not_move_the_clock() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        for _ in range(1_000):
            loop.call_later(50, pytest.fail, "a cancelled timer ran").cancel()
        await asyncio.sleep(1)
        return loop.time()

    assert simulation.run(main) == 1.0


def test_waiting_for_ever_is_a_deadlock_that_names_who_waits_and_where() -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(stuck(), name="the stuck one")

    with pytest.raises(simulation.DeadlockError) as caught:
        simulation.run(main)
    text = str(caught.value)
    assert "nothing is ready and no timer is set; 2 tasks wait" in text
    assert "the stuck one" in text
    assert "locks.py" in text


@pytest.mark.parametrize(("sleep_s", "passes"), [(9.9, True), (10.0, True), (10.1, False)])
def test_the_limit_of_virtual_time_holds(sleep_s: float, passes: bool) -> None:
    async def main() -> str:
        await asyncio.sleep(sleep_s)
        return "done"

    if passes:
        assert simulation.run(main, limit_s=10.0) == "done"
    else:
        with pytest.raises(simulation.LimitError, match="10 virtual seconds"):
            simulation.run(main, limit_s=10.0)


def test_turning_without_time_passing_is_stopped() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(simulation.LimitError, match="1000 turns at the instant 0 s"):
        simulation.run(main, limit_turns=1_000)


def test_a_task_left_behind_is_reported_and_cancelled() -> None:
    ended: list[str] = []

    async def forgotten() -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            ended.append("cancelled")

    async def main() -> None:
        main.task = asyncio.create_task(forgotten())  # type: ignore[attr-defined]

    with pytest.raises(simulation.LeakedTasksError, match=r"1 tasks were still pending.*forgotten#\d+ at"):
        simulation.run(main)
    assert ended == ["cancelled"]


def test_a_task_that_was_cancelled_but_not_awaited_is_no_leak() -> None:
    async def main() -> str:
        task = asyncio.create_task(asyncio.sleep(1_000))
        await asyncio.sleep(0)
        task.cancel()
        return "done"

    assert simulation.run(main) == "done"


def test_a_failure_that_nobody_saw_fails_the_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(int, "not a number")
        await asyncio.sleep(1)

    with pytest.raises(simulation.UnhandledError, match="not a number"):
        simulation.run(main)


def test_an_error_of_the_program_comes_out_as_it_is() -> None:
    async def main() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        simulation.run(main)


def test_an_executor_runs_the_function_on_the_loop_in_a_later_turn() -> None:
    async def main() -> tuple[bool, int]:
        ran: list[int] = []
        future = asyncio.get_running_loop().run_in_executor(None, lambda: ran.append(threading.get_ident()))
        at_once = bool(ran)
        await future
        await asyncio.to_thread(ran.append, 1)
        return at_once, ran[0]

    assert simulation.run(main) == (False, threading.get_ident())


def test_an_error_in_an_executor_reaches_the_waiter() -> None:
    async def main() -> None:
        await asyncio.to_thread(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        simulation.run(main)


def test_sockets_and_subprocesses_are_refused_with_the_way_out() -> None:
    async def main() -> None:
        await asyncio.open_connection("127.0.0.1", 1)

    with pytest.raises(simulation.UnsupportedError, match=r"loop\.create_connection is not there.*real_time"):
        simulation.run(main)

    async def spawn() -> None:
        await asyncio.create_subprocess_exec("true")

    with pytest.raises(simulation.UnsupportedError, match="subprocess_exec"):
        simulation.run(spawn)


def test_another_thread_cannot_reach_the_loop() -> None:
    caught: list[BaseException] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def reach() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except simulation.UnsupportedError as error:
                caught.append(error)

        thread = threading.Thread(target=reach)
        thread.start()
        thread.join()

    simulation.run(main)
    assert len(caught) == 1


def test_asyncio_tools_work_on_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            for seconds in (3, 1, 2):
                group.create_task(asyncio.sleep(seconds))
        done, pending = await asyncio.wait([asyncio.create_task(asyncio.sleep(1))], timeout=5)
        assert (len(done), len(pending)) == (1, 0)
        return asyncio.get_running_loop().time()

    assert simulation.run(main) == 34.0


def test_cancel_order_follows_the_order_of_creation() -> None:
    async def main() -> list[int]:
        ended: list[int] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                ended.append(number)

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for number in range(30):
                    group.create_task(wait(number))
                await asyncio.sleep(1)
                raise KeyError
        return ended

    assert simulation.run(main, seed=None) == list(range(30))


def test_the_world_answers_from_the_run() -> None:
    async def main() -> tuple[object, ...]:
        await asyncio.sleep(2.5)
        assert getattr(world.current(), "simulated", False)
        return world.now().isoformat(), world.new_id(), world.secret_bytes(8), world.random().random()

    first = simulation.run(main, seed=3)
    assert first == simulation.run(main, seed=3)
    assert first[0] == "2026-01-01T00:00:02.500000+00:00"
    assert first[1:] != simulation.run(main, seed=4)[1:]
    assert not getattr(world.current(), "simulated", False)
