"""Sells once to ann and once to somebody poor, each under a key, and handles one event; prints what came of it."""

import asyncio
import sys
from pathlib import Path

from services_cast import BANK, Bank, BankService, BooksService, Declined, SaleMade

from archstone import context
from archstone.context import Call, Principal
from archstone.data import Database, envelope
from archstone.services import Dispatcher, InProcess, client, event_routes, options

ANN = Principal("ann", frozenset({"customer"}))


async def main(folder: Path) -> None:
    async with Database(f"sqlite:///{folder}/bank.db") as bank_db, Database(f"sqlite:///{folder}/books.db") as books_db:
        await bank_db.execute(BANK)
        await books_db.execute(BANK)
        way = InProcess()
        async with (
            Dispatcher(BankService(db=bank_db)) as bank_dispatcher,
            Dispatcher(BooksService(db=books_db, bank=client(Bank, way))) as books,
        ):
            way.connect(bank_dispatcher)
            bank = options(bank_dispatcher.client(Bank, as_=ANN), key="k")
            print("charged", await bank.charge("ann", 5))
            try:
                await options(bank, key="poor").charge("poor", 7)
            except Declined as error:
                print("declined", error.account)
            sale = envelope(SaleMade(sale="s1", amount=11), Call())._replace(id="m1")
            with context.enter(Call()):
                await event_routes(books)[0].handle(sale)
            print("handled")


asyncio.run(main(Path(sys.argv[1])))
