"""A process that reads the stream is killed at each durable point; after the next start everything is there once."""

import importlib.util
import os
import signal
from pathlib import Path

import pytest
import warm
from clearing_crash_child import market

from archstone import world
from archstone.data import Database
from archstone.systems.exchange.clearing import faults
from archstone.systems.exchange.history import archive
from archstone.systems.exchange.surveillance import Candle, Rules, Watch, candles_of
from archstone.systems.exchange.tape import payments_of, trades_of

pytestmark = [pytest.mark.slow, pytest.mark.real_time]

CHILD = Path(__file__).with_name("clearing_crash_child.py")
ARROW = importlib.util.find_spec("pyarrow") is not None
BUS = (
    "messaging.before_send",
    "messaging.after_send",
    "messaging.after_delete",
    "services.after_handled_before_settle",
)
POINTS = [
    *((point, passes) for point in ("data.before_commit", "data.after_commit") for passes in (25, 110)),
    *((point, 2) for point in BUS),
]
SERVER = [
    ("postgres.before_commit", 15),
    ("postgres.after_commit", 30),
    ("messaging.after_send", 2),
    ("services.after_handled_before_settle", 2),
]
FILES = [
    *((archive.AFTER_PART, passes) for passes in (1, 4)),
    *((archive.AFTER_PARTS, passes) for passes in (1, 2)),
    *((archive.AFTER_PROGRESS, passes) for passes in (1, 2)),
]


def run(folder: Path, *words: str, **environment: str) -> tuple[int, str]:
    done = warm.run([CHILD, folder, *words], env={**os.environ, **environment})
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode, done.stdout


def survived(folder: Path, point: str, passes: int, *words: str) -> None:
    """Kill a process at a point, and let another one end what it began."""
    assert run(folder, *words, ARCHSTONE_CRASH=f"{point}:{passes}") == (-signal.SIGKILL, "")
    assert run(folder, *words) == (0, "all there\n")


async def whole(url) -> None:
    """Every fill and payment is booked once, every trade is in its candles once, every finding is there once."""
    batches = market()
    trades = [each for batch in batches for each in trades_of(batch)]
    refs = [*(f"trade/{each.sequence}/{each.number}" for each in trades)]
    refs += [f"payment/{each.sequence}" for batch in batches for each in payments_of(batch)]
    async with Database(url("clearing")) as db:
        assert await faults(db) == []
        assert sorted(await db.all(str, "SELECT ref FROM entries WHERE sequence IS NOT NULL")) == sorted(refs)
    async with Database(url("surveillance")) as db:
        assert sorted(await db.all(Candle, "SELECT * FROM candles")) == sorted(candles_of(trades))
        watch = Watch(Rules())
        found = [(each.rule, each.account, each.sequence) for batch in batches for each in watch.see(batch)]
        assert found
        assert await db.all(tuple[str, int, int], "SELECT rule, account, sequence FROM alerts ORDER BY id") == found


@pytest.mark.parametrize(("point", "passes"), POINTS)
async def test_killed_on_sqlite_everything_is_there_once(tmp_path, point, passes):
    survived(tmp_path, point, passes)
    await whole(lambda name: f"sqlite:///{tmp_path}/{name}.db")


@pytest.mark.parametrize(("point", "passes"), SERVER)
async def test_killed_on_a_server_everything_is_there_once(tmp_path, postgres_url, point, passes):
    survived(tmp_path, point, passes, postgres_url)
    await whole(lambda name: f"{postgres_url}?schema={name}")


@pytest.mark.skipif(not ARROW, reason="the extra `history` is not installed")
@pytest.mark.parametrize(("point", "passes"), FILES)
def test_killed_while_files_are_written_each_row_is_in_one_of_them(tmp_path, point, passes):
    from pyarrow import dataset

    survived(tmp_path, point, passes)
    table = dataset.dataset(tmp_path / "history" / "trades", partitioning="hive").to_table()
    rows = sorted(zip(table["sequence"].to_pylist(), table["number"].to_pylist(), strict=True))
    assert rows == [(each.sequence, each.number) for batch in market() for each in trades_of(batch)]
    assert not [*(tmp_path / "history").rglob(".*.aside")]


def test_every_point_of_history_is_killed_at():
    points = {name for name in world.crash_points() if name.startswith("exchange.history_")}
    assert points == {point for point, _ in FILES}
