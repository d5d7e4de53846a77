"""A contract between two processes."""

from archstone.services import Contract, Service, query


class Desk(Contract, version="1.0"):
    @query("/who", requires="service")
    async def who(self) -> str: ...


class DeskService(Service, Desk):
    async def who(self) -> str:
        return self.principal.id
