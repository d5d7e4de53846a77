"""The exchange, as one reads it aloud.

archstone up exchange
"""

from pathlib import Path

from archstone.security import Audits, Passwords, Tokens
from archstone.services import Option, System
from archstone.systems.exchange.accounts.contract import AccountAdmin
from archstone.systems.exchange.accounts.guard import Guard
from archstone.systems.exchange.accounts.numbers import Numbers
from archstone.systems.exchange.accounts.programs import Programs
from archstone.systems.exchange.accounts.service import AccountsService
from archstone.systems.exchange.clearing import AccountRule, ClearingService
from archstone.systems.exchange.desk.contract import Trading
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.desk.gates import Gates
from archstone.systems.exchange.desk.latency import Clocks
from archstone.systems.exchange.desk.risk import Risk
from archstone.systems.exchange.desk.service import DeskService
from archstone.systems.exchange.history import HistoryService, Shelf
from archstone.systems.exchange.providers import (
    audits,
    clocks,
    floor,
    gates,
    guard,
    numbers,
    owners,
    passwords,
    programs,
    sequencer,
    shelf,
    symbols,
    tokens,
)
from archstone.systems.exchange.roles import ROLES
from archstone.systems.exchange.sequencer import Sequencer
from archstone.systems.exchange.surveillance import SurveillanceService
from archstone.systems.exchange.tape import Symbols, TapeService
from archstone.systems.exchange.web.front import Front

__all__ = ["URGENT", "exchange"]

URGENT = (Trading.cancel, Trading.cancel_all, Risk.kill, Risk.kill_all, Risk.enter)
"""What takes risk away: served before all else when not everything can be."""

exchange = System(
    "exchange",
    services=[AccountsService, DeskService, TapeService, ClearingService, SurveillanceService, HistoryService],
    gateway=Front(urgent=URGENT),
    provide={
        Audits: audits,
        Passwords: passwords,
        Tokens: tokens,
        Guard: guard,
        Programs: programs,
        Clocks: clocks,
        Sequencer: sequencer,
        Symbols: symbols,
        Shelf: shelf,
        AccountRule: owners,
        Floor: floor,
        Numbers: numbers,
        Gates: gates,
    },
    contracts_snapshot=Path(__file__).with_name("contracts.json"),
    promote=AccountAdmin.grant,
    roles=ROLES,
    options=[
        Option(
            "sequencer",
            about="Where commands are kept before they are done: on `disk`, in `memory` (gone with the process), or by "
            "two nodes, HOST:PORT,HOST:PORT.",
            default="disk",
        ),
        Option(
            "sequencer_tls",
            about="With nodes: the folder of this exchange's certificate, or `private-network` where nobody else is on "
            "theirs. Without it they are on this machine.",
        ),
        Option("sequencer_domain", about="With `sequencer_tls`: the domain of the authority."),
        Option(
            "history",
            about="Whether trades and events are written to Parquet files, which nobody removes.",
            default="off",
            choices=("on", "off"),
        ),
        Option("bots", about="Whether bots make a market.", default="on", choices=("on", "off")),
        Option("seed", about="What decides all that the bots do.", default="1"),
        Option(
            "binary", about="Where the binary protocol is spoken: HOST:PORT, or `off`.", default="off", listens=True
        ),
        Option("fix", about="Where FIX 4.4 is spoken: HOST:PORT, or `off`.", default="off", listens=True),
        Option(
            "feed",
            about="Where multicast market data are sent again that were lost: HOST:PORT, or `off`. They go to "
            "239.255.71.1, the same port.",
            default="off",
        ),
    ],
)
