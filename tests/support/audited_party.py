"""A contract between two processes, of which one keeps a record: audited_party.py FOLDER serves it."""

import asyncio
import socket
import sys
from pathlib import Path

import uvicorn

from archstone.data import Database
from archstone.security import AUDIT_SCHEMA, AuditLog, KeyFile, PrincipalAssertions
from archstone.services import SIGNED_IN, Contract, Dispatcher, InProcess, Service, command, operations, query
from archstone.services.http import ContractApp, read_with


class Safe(Contract, version="1.0"):
    @command("/taken/{thing}", requires=SIGNED_IN)
    async def take(self, thing: str) -> None: ...

    @query("/records", requires=SIGNED_IN)
    async def records(self) -> tuple[str, ...]: ...


class SafeService(Service, Safe):
    schemas = (AUDIT_SCHEMA,)

    audit: AuditLog

    async def take(self, thing: str) -> None:
        await self.audit.record("safe.taken", subject=thing, tx=self.tx)

    async def records(self) -> tuple[str, ...]:
        return tuple(f"{each.who} {each.subject} {each.details}" for each in await self.audit.entries())


async def main(folder: Path) -> None:
    async with Database(f"sqlite:///{folder / 'safe.db'}") as db:
        await db.ensure(AUDIT_SCHEMA)
        async with Dispatcher(SafeService(db=db, audit=AuditLog(db))) as dispatcher:
            way = InProcess(dispatcher)
            codec = PrincipalAssertions(KeyFile(folder / "keys.json").load(), system="safe")
            app = ContractApp([(each, way) for each in operations(Safe)], principal=read_with(codec))
            listener = socket.create_server(("127.0.0.1", 0))
            print(listener.getsockname()[1], flush=True)
            config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
            await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
