"""A service in a process of its own that knows its callers by their certificates: mtls_child.py FOLDER [CALLER...]."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvicorn
from mtls_contract import Desk, DeskService

from archstone.data import Database
from archstone.gateway.heads import BoundedHttp
from archstone.security.mtls import Identity, PeersOnly
from archstone.services import Dispatcher, InProcess, operations
from archstone.services.http import ContractApp, peer_principal


async def main(folder: Path, callers: list[str]) -> None:
    async with (
        Database(f"sqlite:///{folder.parent / f'desk-{os.getpid()}.db'}") as db,
        Dispatcher(DeskService(db=db)) as dispatcher,
    ):
        way = InProcess(dispatcher)
        app = ContractApp([(each, way) for each in operations(Desk)], principal=peer_principal())
        identity = Identity(folder, domain="shop.internal")
        guarded = PeersOnly(app, domain="shop.internal", callers=tuple(callers) or None)
        config = uvicorn.Config(
            guarded,
            http=BoundedHttp,
            lifespan="off",
            log_config=None,
            access_log=False,
            ssl_context_factory=identity.factory,
        )
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
