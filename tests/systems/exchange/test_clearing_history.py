"""Files of trades and events: every row once, by day and symbol, readable without anything of ours."""

import asyncio
import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from clearing_stream import NOON_NS, SECOND_NS, STAFF, Kept, canceled, following, made, opening, placed, serving, traded

from archstone.errors import ConfigError, LostError
from archstone.systems.exchange.history import EVENTS, TRADES, Archive, History, HistoryService, Shelf, archive
from archstone.systems.exchange.history.columns import rows_of
from archstone.systems.exchange.matching import Command, Event, Kind, Reason, Side, Told
from archstone.systems.exchange.tape import Following, Symbols, trades_of

NAMES = Symbols({1: "ACME", 2: "BETA"})
DAY_NS = 86_400 * SECOND_NS


def market(count: int, *, every_ns: int = SECOND_NS) -> list:
    """Orders and trades in two books, a command at a time."""
    batches = [opening((1, 1), (2, 1))]
    for number in range(1, count + 1):
        book, at_ns = 1 + number % 2, NOON_NS + number * every_ns
        first = batches[-1].last + 1
        batches += [
            made(first, placed(3, number, Side.SELL, 5, 100 + number, book=book), at_ns=at_ns),
            made(
                first + 1,
                traded(2, number, Side.BUY, (3, number, 2, 100 + number), book=book, maker_left=3),
                canceled(3, number, 3, book=book),
                at_ns=at_ns,
            ),
        ]
    return batches


def test_columns_are_those_that_are_documented():
    for kind, columns in (("trades", TRADES), ("events", EVENTS)):
        rows = rows_of(kind, market(3))
        assert set(rows) == {"day", *(column.name for column in columns)}
        assert {len(column) for column in rows.values()} == {3 if kind == "trades" else 14}


def test_a_trade_and_the_events_of_its_command_are_numbered_apart_and_together():
    batch = made(
        9,
        placed(3, 1, Side.SELL, 5, 100),
        traded(2, 4, Side.BUY, (3, 1, 2, 100), (3, 2, 1, 101)),
        traded(4, 1, Side.SELL, (2, 9, 1, 99), book=2, auction=True),
        (
            0,
            Command(Kind.KILL, account=3, type=1),
            [Event(Told.CANCELED, 1, other=7, account=3, reason=Reason.KILL, left=2)],
        ),
    )
    trades, events = (rows_of(kind, [batch]) for kind in ("trades", "events"))
    names = ("sequence", "number", "buyer", "seller", "aggressor")
    assert [*zip(*(trades[name] for name in names), strict=True)] == [
        (10, 0, 2, 3, "buyer"), (10, 1, 2, 3, "buyer"), (11, 0, 4, 2, None),
    ]  # fmt: skip
    names = ("sequence", "number", "kind", "book", "reason")
    assert [*zip(*(events[name] for name in names), strict=True)] == [
        (9, 0, "accepted", 1, None), (9, 1, "rested", 1, None), (10, 0, "accepted", 1, None),
        (11, 0, "accepted", 2, None), (12, 0, "canceled", 7, "kill"),
    ]  # fmt: skip
    assert trades_of(batch)[0].buy_order == trades["buy_order"][0] == 4


def needs_arrow():
    pytest.importorskip("pyarrow", reason="the extra `history` is not installed")
    from pyarrow import dataset, parquet

    return dataset, parquet


def read(folder: Path, kind: str = "trades") -> list[dict]:
    """Read as anybody would."""
    dataset, _ = needs_arrow()
    table = dataset.dataset(folder / kind, partitioning="hive", format="parquet").to_table()
    return sorted(table.to_pylist(), key=lambda row: (row["sequence"], row["number"]))


def names(rows: list[dict]) -> list[tuple[int, int]]:
    return [(row["sequence"], row["number"]) for row in rows]


def expected(batches) -> list[tuple[int, int]]:
    return [(trade.sequence, trade.number) for batch in batches for trade in trades_of(batch)]


async def written(folder: Path, batches, **settings) -> None:
    kept = Archive(folder, symbols=NAMES, **settings)
    async with Following(Kept(batches), kept, name="history") as reader:
        await reader.reached(batches[-1].last, timeout_s=5)
    await kept.flush()


async def test_every_trade_and_event_is_a_row_with_day_and_symbol(tmp_path):
    needs_arrow()
    batches = market(6, every_ns=DAY_NS // 4)
    await written(tmp_path, batches)
    trades, events = read(tmp_path), read(tmp_path, "events")
    assert names(trades) == expected(batches)
    assert trades[0] == {
        "sequence": 4, "number": 0, "at": datetime(2026, 3, 1, 18, tzinfo=UTC), "book": 2, "price": 101, "lots": 2,
        "buyer": 2, "buy_order": 1, "seller": 3, "sell_order": 1, "aggressor": "buyer", "symbol": "BETA",
        "date": trades[0]["date"],
    }  # fmt: skip
    assert {(str(row["date"]), row["symbol"]) for row in trades} == {
        ("2026-03-01", "BETA"), ("2026-03-02", "ACME"), ("2026-03-02", "BETA"), ("2026-03-03", "ACME"),
    }  # fmt: skip
    assert [row["kind"] for row in events[:6]] == ["opened", "opened", "accepted", "rested", "accepted", "canceled"]
    assert len(events) == 2 + 4 * 6
    assert json.loads((tmp_path / "progress.json").read_text()) == {"format": 1, "last": batches[-1].last}


async def test_files_are_of_one_day_and_one_symbol_each(tmp_path):
    _, parquet = needs_arrow()
    await written(tmp_path, market(6, every_ns=DAY_NS // 4))
    for path in tmp_path.glob("trades/*/*/*.parquet"):
        day, symbol = (part.partition("=")[2] for part in path.parts[-3:-1])
        table = parquet.read_table(path, partitioning=None)
        assert {str(at.date()) for at in table.column("at").to_pylist()} == {day}
        assert {NAMES.symbol(book) for book in table.column("book").to_pylist()} == {symbol}
        assert str(table.schema.field("at").type) == "timestamp[ns, tz=UTC]"


@pytest.mark.parametrize("most", [1, 7, 1_000])
async def test_each_row_is_in_one_file_wherever_the_writer_stops(tmp_path, most):
    needs_arrow()
    batches = market(12)
    for stop in range(1, len(batches), 4):  # what is gathered is lost, as in a crash
        kept = Archive(tmp_path, symbols=NAMES, most=most)
        async with Following(Kept(batches[:stop]), kept, name="history", most=1) as reader:
            await reader.reached(batches[stop - 1].last, timeout_s=5)
    await written(tmp_path, batches, most=most)
    assert names(read(tmp_path)) == expected(batches)
    assert len(names(read(tmp_path, "events"))) == 2 + 4 * 12


async def test_gathered_rows_are_written_in_time(tmp_path):
    needs_arrow()
    batches = market(10, every_ns=60 * SECOND_NS)
    kept = Archive(tmp_path, symbols=NAMES, gather_s=180)
    async with Following(Kept(batches), kept, name="history") as reader:
        await reader.reached(batches[-1].last, timeout_s=5)
        done = json.loads((tmp_path / "progress.json").read_text())["last"]
        assert 0 < done < batches[-1].last
        await kept.flush(now_ns=batches[-1].at_ns + 10 * SECOND_NS)
        assert kept.final() == done
        await kept.flush(now_ns=batches[-1].at_ns + 180 * SECOND_NS)
        assert kept.final() == batches[-1].last


async def test_what_failed_half_way_is_removed_and_written_again(tmp_path, monkeypatch):
    needs_arrow()
    batches, kept = market(6), Archive(tmp_path, symbols=NAMES)
    monkeypatch.setattr(kept, "_put", failing_after(kept._put, 2))
    async with Following(Kept(batches), kept, name="history") as reader:
        await reader.reached(batches[-1].last, timeout_s=5)
        with pytest.raises(OSError, match="the disk is full"):
            await kept.flush()
        assert len([*tmp_path.rglob("part-*.parquet")]) == 2
        with pytest.raises(LostError, match="it is read again"):
            await kept.take(batches)
        assert await kept.last() == 0
        assert [*tmp_path.rglob("*.parquet")] == []
        await kept.take(batches)
        await kept.flush()
    assert names(read(tmp_path)) == expected(batches)


def failing_after(put, count: int):
    def fail_once(table, path):
        nonlocal count
        count -= 1
        if count == -1:
            raise OSError("the disk is full")
        put(table, path)

    return fail_once


async def test_a_progress_that_cannot_be_read_is_refused(tmp_path):
    needs_arrow()
    for text, why in (
        ("{", "cannot be read"),
        ('{"last": 1}', "cannot be read"),
        ('{"format": 2, "last": 1}', "format 2"),
    ):
        (tmp_path / "progress.json").write_text(text)
        with pytest.raises(ConfigError, match=why):
            await Archive(tmp_path).last()


def test_settings_that_cannot_be_meant_are_refused(tmp_path):
    needs_arrow()
    with pytest.raises(ConfigError, match="most=0 must be at least 1; gather_s=-1 must be at least 0"):
        Archive(tmp_path, most=0, gather_s=-1)


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(archive.importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"it needs pyarrow: pip install 'archstone\[history\]'"):
        Archive(tmp_path)


def missing(name: str):
    raise ImportError(name)


async def test_the_service_lists_the_files_that_are_final(tmp_path):
    needs_arrow()
    kept = Archive(tmp_path / "history", symbols=NAMES, most=1)
    batches = market(4)
    parts = (HistoryService, {"sequencer": Kept(batches), "shelf": Shelf(kept)})
    async with serving(parts, url=lambda name: f"sqlite:///{tmp_path}/{name}.db") as run:
        await following(run["history"]).reached(batches[-1].last, timeout_s=5)
        history = run["history"].client(History, as_=STAFF)
        found = await history.parts(date(2026, 3, 1))
        assert found.last == batches[-1].last
        assert {each.symbol for each in found.items} == {"ACME", "BETA"}
        assert all((tmp_path / "history" / each.path).stat().st_size == each.size_bytes for each in found.items)
        (tmp_path / "history" / found.items[0].path).with_name(f"part-{1:020}-{10**6:020}.parquet").write_bytes(b"")
        assert await history.parts(date(2026, 3, 1)) == found, "what is not final is not listed"
        assert {each.symbol for each in (await history.parts(date(2026, 3, 1), "ACME")).items} == {"ACME"}
        assert (await history.parts(date(2026, 3, 2))).items == ()
        assert (await history.parts(date(1970, 1, 1), None, "events")).items == ()


async def test_what_is_gathered_for_long_is_written_though_nothing_comes(tmp_path):
    needs_arrow()
    kept = Archive(tmp_path / "history", symbols=NAMES, gather_s=30)
    batches = market(2)
    parts = (HistoryService, {"sequencer": Kept(batches), "shelf": Shelf(kept)})
    async with serving(parts, url=lambda name: f"sqlite:///{tmp_path}/{name}.db") as run:
        await following(run["history"]).reached(batches[-1].last, timeout_s=5)
        assert kept.final() == 0
        await asyncio.sleep(61)
        assert kept.final() == batches[-1].last


def test_times_keep_their_nanoseconds():
    rows = rows_of("trades", [made(1, traded(2, 1, Side.BUY, (3, 1, 1, 9)), at_ns=NOON_NS + 123_456_789)])
    assert rows["at"].dtype == np.int64
    assert rows["at"].tolist() == [NOON_NS + 123_456_789]
