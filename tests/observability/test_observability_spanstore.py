import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone import context, world
from archstone.context import Call, Trace
from archstone.data.outbox import headers_of
from archstone.observability import SpanRecord, SpanStore, SpanStoreError, recorded, span
from archstone.observability.sampling import Sampler


def record(
    trace_id: int = 1,
    span_id: int = 1,
    *,
    parent_id: int | None = None,
    status: str = "ok",
    ref: str | None = None,
    start_us: int | None = None,
) -> SpanRecord:
    begun_us = world.now_us() if start_us is None else start_us
    return SpanRecord(trace_id, span_id, parent_id, "work", "internal", begun_us, 10, status, ref, {"n": 1})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


async def test_a_span_is_found_by_its_ref_with_its_whole_trace(path: Path) -> None:
    async with SpanStore(path) as store:
        with span("gateway") as work:
            with span("orders.place", ref="A1", lines=2, ratio=0.5, note="ä", nothing=None):
                await asyncio.sleep(0.5)
            work.set("done", value=True)
        with span("other", ref="A2"):
            pass
        found = store.find("A1")
        assert [one.name for one in found] == ["gateway", "orders.place"]
        assert found[1].attributes == {"lines": 2, "ratio": 0.5, "note": "ä", "nothing": None}
        assert (found[0].parent_id, found[1].parent_id) == (None, found[0].span_id)
        assert found[1].duration_us == 500_000
        assert store.trace(found[0].trace_id) == found
        assert store.find("A3") == []


async def test_ids_of_full_width_come_back(path: Path) -> None:
    async with SpanStore(path) as store:
        whole = record((1 << 128) - 1, (1 << 64) - 1, parent_id=(1 << 64) - 2, ref="A1")
        store.add(whole)
        assert store.find("A1") == [whole]


async def test_all_traces_with_one_ref_are_found_oldest_first(path: Path) -> None:
    async with SpanStore(path) as store:
        now_us = world.now_us()
        for number in (3, 1, 2):
            store.add(record(number, number, ref="A1", start_us=now_us + number))
        assert [one.trace_id for one in store.find("A1")] == [1, 2, 3]


async def test_spans_are_written_without_being_asked(path: Path) -> None:
    async with SpanStore(path, flush_s=0.25) as store:
        store.add(record())
        await asyncio.sleep(0.3)
        assert sqlite3.connect(path).execute("SELECT count(*) FROM spans").fetchone() == (1,)


async def test_what_is_in_the_buffer_is_written_at_the_end(path: Path) -> None:
    async with SpanStore(path) as store:
        store.add(record(ref="A1"))
    async with SpanStore(path) as store:
        assert len(store.find("A1")) == 1


async def test_the_file_is_for_its_owner_only(path: Path) -> None:
    async with SpanStore(path):
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_full_buffer_drops_and_counts(path: Path) -> None:
    store = SpanStore(path, max_buffer=10)
    store.open()
    for number in range(1, 13):
        store.add(record(1, number))
    assert store.dropped == 2
    assert store.flush() == 10
    store.add(record(1, 13))
    assert store.flush() == 1
    store.close()


async def test_above_the_rate_traces_are_whole_or_absent(path: Path) -> None:
    async with SpanStore(path, spans_per_s=100) as store:
        for _ in range(40):
            for _ in range(20):  # 20 traces of 3 spans, ten times a second: 600 spans a second
                with span("a"), span("b"), span("c"):
                    pass
            await asyncio.sleep(0.1)
        store.flush()
        counts = [row[0] for row in store._opened().execute("SELECT count(*) FROM spans GROUP BY trace_id")]
        assert set(counts) == {3}
        assert 300 <= sum(counts) <= 700  # four seconds at 100, the first burst, and traces finished beyond it
        assert store.sampled_out == 40 * 20 - len(counts)
        assert store.dropped == 0


async def test_below_the_rate_everything_is_kept(path: Path) -> None:
    async with SpanStore(path, spans_per_s=100) as store:
        for _ in range(40):
            for _ in range(9):
                with span("a"):
                    pass
            await asyncio.sleep(0.1)
        assert store.sampled_out == 0


async def test_an_error_brings_its_whole_trace_back(path: Path) -> None:
    async with SpanStore(path, spans_per_s=1) as store:
        for number in range(2, 50):
            store.add(record(number))
        store.add(record(1, 1))
        store.add(record(1, 2))
        out = store.sampled_out
        store.add(record(1, 3, status="error"))
        store.add(record(1, 4))
        assert sorted(one.span_id for one in store.trace(1)) == [1, 2, 3, 4]
        assert store.sampled_out == out - 1


async def test_a_trace_begun_before_a_restart_is_kept_though_the_rate_is_used_up(path: Path) -> None:
    async with SpanStore(path) as store:
        store.add(record(1, 1))
    async with SpanStore(path, spans_per_s=1) as store:
        for number in range(2, 50):
            store.add(record(number))
        store.add(record(1, 2))
        assert sorted(one.span_id for one in store.trace(1)) == [1, 2]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["ok", "refused", "error"])), max_size=200))
def test_every_span_in_error_is_kept_and_no_trace_is_kept_in_part(spans: list[tuple[int, str]]) -> None:
    sampler = Sampler(5.0)
    taken: list[SpanRecord] = []
    for number, (trace_id, status) in enumerate(spans, start=1):
        taken += sampler.take(record(trace_id, number, status=status)) or ()
    kept = {one.trace_id for one in taken}
    assert {trace_id for trace_id, status in spans if status == "error"} <= kept
    assert len(taken) == sum(trace_id in kept for trace_id, _ in spans)
    assert sampler.sampled_out == len({trace_id for trace_id, _ in spans} - kept)


def test_what_the_sampler_remembers_is_bounded() -> None:
    sampler = Sampler(1.0, max_traces=100, max_aside=50)
    for number in range(1, 1000):
        for _ in range(5):
            sampler.take(record(number))
    assert len(sampler._decided) == 100
    assert sum(map(len, sampler._aside.values())) == sampler._aside_spans == 50
    for _ in range(1000):
        sampler.take(record(2000))
        assert sum(map(len, sampler._aside.values())) == sampler._aside_spans <= 50


async def test_traces_older_than_their_age_are_swept_whole(path: Path) -> None:
    async with SpanStore(path, max_age_s=100) as store:
        now_us = world.now_us()
        store.add(record(1, 1, start_us=now_us - 101_000_000))
        store.add(record(1, 2, start_us=now_us - 99_000_000))
        store.add(record(2, 3, start_us=now_us - 99_000_000))
        store.flush()
        assert store.sweep() == 2
        assert store.sweep() == 0
        assert store.trace(1) == []
        assert len(store.trace(2)) == 1


async def test_a_huge_trace_is_swept_in_small_parts(path: Path) -> None:
    async with SpanStore(path, max_age_s=100, spans_per_s=1e9) as store:
        old_us = world.now_us() - 101_000_000
        for span_id in range(1, 3001):
            store.add(record(1, span_id, start_us=old_us))
        store.add(record(2, 1))
        store.flush()
        swept = [store.sweep() for _ in range(7)]
        assert swept == [500, 500, 500, 500, 500, 500, 0]
        assert store.trace(1) == []
        assert len(store.trace(2)) == 1


async def test_one_trace_keeps_no_more_spans_than_it_may_also_after_a_restart(path: Path) -> None:
    async with SpanStore(path, max_trace_spans=5, spans_per_s=1e9) as store:
        for span_id in range(1, 8):
            store.add(record(1, span_id))
        store.add(record(2, 1))
        assert sorted(one.span_id for one in store.trace(1)) == [1, 2, 3, 4, 5]
        assert len(store.trace(2)) == 1
        assert store.dropped == 2
    async with SpanStore(path, max_trace_spans=6, spans_per_s=1e9) as store:
        for span_id in range(8, 12):
            store.add(record(1, span_id, status="error"))
        assert len(store.trace(1)) == 6
        assert (store.dropped, store.sampled_out) == (3, 0)


def test_what_comes_back_with_an_error_fits_into_its_trace() -> None:
    sampler = Sampler(1.0, max_trace_spans=5)
    sampler.take(record(9))
    for span_id in range(1, 11):
        assert sampler.take(record(1, span_id)) is None
    back = sampler.take(record(1, 11, status="error"))
    assert back is not None
    assert [one.span_id for one in back] == [1, 2, 3, 4, 11]
    assert sampler.take(record(1, 12, status="error")) is None
    assert (sampler.overlong, sampler.sampled_out) == (7, 0)


async def test_a_trace_declined_at_its_start_keeps_its_error_what_is_around_it_and_what_ends_later(path: Path) -> None:
    async with SpanStore(path, spans_per_s=1) as store:
        with span("takes what there is"):
            pass
        with span("root"):
            assert context.current().trace.sampled is False
            with span("before"):
                pass
            with span("around"):
                with pytest.raises(ValueError), span("failing", ref="A1", n=1):
                    await asyncio.sleep(0.5)
                    raise ValueError("no")
                with span("after"):
                    pass
        found = store.find("A1")
        assert [one.name for one in found] == ["root", "around", "failing", "after"]
        root, around, failing, _ = found
        assert (root.parent_id, around.parent_id, failing.parent_id) == (None, root.span_id, root.span_id)
        assert (failing.status, failing.duration_us, failing.attributes["n"]) == ("error", 500_000, 1)
        assert failing.start_us >= around.start_us >= root.start_us
        assert store.sampled_out == 0


async def test_what_a_declined_trace_sends_on_says_that_it_is_not_sampled(path: Path) -> None:
    async with SpanStore(path, spans_per_s=1):
        with span("takes what there is"):
            assert headers_of(context.current()).endswith(b'-01"}')
        with span("root"), span("inner"):
            assert headers_of(context.current()).endswith(b'-00"}')


async def test_somebody_who_wants_every_trace_gets_it_whatever_a_store_wants(path: Path) -> None:
    async with SpanStore(path, spans_per_s=1) as store:
        with recorded() as spans:
            for _ in range(10):
                with span("root"), span("inner"):
                    pass
        assert len(spans) == 20
        assert store.sampled_out == 9
        with span("root"), span("inner"):
            assert context.current().trace.sampled is False


async def test_a_trace_from_elsewhere_is_asked_about_where_it_comes_in(path: Path) -> None:
    async with SpanStore(path, spans_per_s=1):
        with span("takes what there is"):
            pass
        for kind in ("server", "consumer"):
            with context.enter(Call(trace=Trace(7, 8, sampled=True))), span("in", kind=kind):
                assert context.current().trace.sampled is False
                assert context.current().trace.trace_id == 7


async def test_under_a_steady_overload_about_as_much_is_kept_as_may_be_and_evenly(path: Path) -> None:
    async with SpanStore(path, spans_per_s=100) as store:
        for _ in range(200):
            for _ in range(25):  # 25 traces of 4 spans, ten times a second: 1,000 spans a second
                with span("a"), span("b"), span("c"), span("d"):
                    pass
            await asyncio.sleep(0.1)
        store.flush()
        seconds = store._opened().execute("SELECT count(*) FROM spans GROUP BY start_us / 1000000").fetchall()
        assert len(seconds) >= 20
        assert all(40 <= count <= 200 for (count,) in seconds[2:-1])


async def test_rows_beyond_the_bound_are_swept_oldest_traces_first_by_itself(path: Path) -> None:
    async with SpanStore(path, max_rows=1000, flush_s=0.1, spans_per_s=1e6) as store:
        for trace_id in range(1, 1501):
            store.add(record(trace_id, 1))
            store.add(record(trace_id, 2))
        await asyncio.sleep(11)
        left = [row[0] for row in store._opened().execute("SELECT DISTINCT trace_id FROM spans")]
        assert sorted(map(int.from_bytes, left)) == list(range(1001, 1501))


async def test_a_file_that_is_no_database_is_put_aside(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(b"not a database at all, but long enough to look at" * 100)
    async with SpanStore(path) as store:
        store.add(record(ref="A1"))
        assert len(store.find("A1")) == 1
    assert path.with_name("traces.db.broken").read_bytes().startswith(b"not a database")
    assert "traces put aside" in capsys.readouterr().err


async def test_a_file_that_fails_harms_nobody_and_is_counted(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with SpanStore(path, flush_s=0.1) as store:
        store._opened().execute("DROP TABLE spans")
        for _ in range(3):
            with span("work"):
                pass
            await asyncio.sleep(0.2)
        assert store.dropped == 3
        with pytest.raises(SpanStoreError, match="no such table"):
            store.find("A1")
    assert capsys.readouterr().err.count("spans cannot be written") == 1


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "absent" / "traces.db")
    with pytest.raises(SpanStoreError) as raised:
        store.open()
    assert str(tmp_path / "absent" / "traces.db") in str(raised.value)
    with pytest.raises(SpanStoreError, match="not open: use `async with`"):
        store.find("A1")


CRASH = """
import asyncio, os, signal, sys
from pathlib import Path
from archstone.observability import SpanStore, span

async def main():
    async with SpanStore(Path(sys.argv[1]), flush_s=0.02):
        with span("root", ref="A1"):
            with span("written"):
                pass
            await asyncio.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.real_time
async def test_a_killed_process_leaves_what_it_had_written(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH, str(path)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    async with SpanStore(path) as store:
        rows = store._opened().execute("SELECT name FROM spans").fetchall()
    assert rows == [("written",)]


async def test_reading_and_writing_from_a_second_store_works_beside_the_first(path: Path) -> None:
    async with SpanStore(path) as store:
        store.add(record(ref="A1"))
        store.flush()
        other = SpanStore(path)
        other.open()
        assert len(other.find("A1")) == 1
        other.close()
