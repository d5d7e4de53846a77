"""One service, one event, a front door. `archstone up hello:hello` runs it here, durably."""

from archstone.data import Event
from archstone.gateway import Gateway
from archstone.services import ANYONE, Contract, Service, System, command, on, query


class Greetings(Contract, version="1.0"):
    @command("/greetings", public=True, requires=ANYONE)
    async def greet(self, name: str) -> str: ...

    @query("/greetings/{name}", public=True, requires=ANYONE)
    async def times(self, name: str) -> int: ...


class Greeted(Event, name="greetings.greeted", version=1, key="name"):
    name: str


class GreetingsService(Service, Greetings):
    async def greet(self, name: str) -> str:
        await self.tx.execute("INSERT INTO people (name) VALUES (:name) ON CONFLICT DO NOTHING", name=name)
        self.tx.publish(Greeted(name=name))
        return f"Hello, {name}!"

    @on(Greeted)
    async def count(self, event: Greeted) -> None:
        await self.tx.execute("UPDATE people SET times = times + 1 WHERE name = :name", name=event.name)

    async def times(self, name: str) -> int:
        return await self.db.first(int, "SELECT times FROM people WHERE name = :name", name=name) or 0


hello = System("hello", services=[GreetingsService], gateway=Gateway())
