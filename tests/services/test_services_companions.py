"""What a service says runs beside it runs as long as it does, and is asked what somebody must hear of."""

from typing import Self

from archstone.data import Database
from archstone.observability import Alerts
from archstone.runtime import running
from archstone.services import ANYONE, Contract, Dispatcher, Service, System, query


class Lamp:
    """Lit while its block is open."""

    def __init__(self) -> None:
        self.lit: list[bool] = []

    async def __aenter__(self) -> Self:
        self.lit.append(True)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.lit.append(False)

    def watched_by(self, alerts: Alerts) -> None:
        alerts.watch("lamp", lambda: "it flickers", for_s=0.0)


LAMP = Lamp()


class Room(Contract, version="1.0"):
    @query("/room", public=True, requires=ANYONE)
    async def is_lit(self) -> bool:
        """Say whether one can see."""
        ...


class RoomService(Service, Room, name="room"):
    def companions(self) -> tuple[Lamp, ...]:
        return (LAMP,)

    async def is_lit(self) -> bool:
        return LAMP.lit[-1]


async def test_a_companion_runs_from_start_to_drain(tmp_path):
    LAMP.lit.clear()
    async with Database(f"sqlite:///{tmp_path}/room.db") as db, Dispatcher(RoomService(db=db)) as dispatcher:
        assert dispatcher.companions == (LAMP,)
        assert await dispatcher.client(Room).is_lit()
        assert LAMP.lit == [True]
        await dispatcher.drain()
        assert LAMP.lit == [True, False]
    assert LAMP.lit == [True, False]


async def test_a_system_runs_companions_and_watches_them(tmp_path):
    LAMP.lit.clear()
    async with running(System("house", services=[RoomService]), data=tmp_path) as run:
        assert await run.client(Room).is_lit()
        run.alerts.look()
        run.alerts.look()
        assert [alert.why for alert in run.alerts.firing()] == ["it flickers"]
    assert LAMP.lit == [True, False]
