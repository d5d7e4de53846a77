"""The exchange, as one reads it aloud.

archstone up exchange
"""

from pathlib import Path

from archstone.security import Audits, Passwords, Tokens
from archstone.services import Option, System
from archstone.systems.exchange.accounts.contract import AccountAdmin
from archstone.systems.exchange.accounts.guard import Guard
from archstone.systems.exchange.accounts.programs import Programs
from archstone.systems.exchange.accounts.service import AccountsService
from archstone.systems.exchange.desk.contract import Trading
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.desk.risk import Risk
from archstone.systems.exchange.desk.service import DeskService
from archstone.systems.exchange.providers import audits, floor, guard, passwords, programs, tokens
from archstone.systems.exchange.roles import ROLES
from archstone.systems.exchange.web.front import Front

__all__ = ["URGENT", "exchange"]

URGENT = (Trading.cancel, Trading.cancel_all, Risk.kill, Risk.kill_all, Risk.enter)
"""What takes risk away: served before all else when not everything can be."""

exchange = System(
    "exchange",
    services=[AccountsService, DeskService],
    gateway=Front(urgent=URGENT),
    provide={
        Audits: audits,
        Passwords: passwords,
        Tokens: tokens,
        Guard: guard,
        Programs: programs,
        Floor: floor,
    },
    contracts_snapshot=Path(__file__).with_name("contracts.json"),
    promote=AccountAdmin.grant,
    roles=ROLES,
    options=[
        Option("bots", about="Whether bots make a market.", default="on", choices=("on", "off")),
        Option("seed", about="What decides all that the bots do.", default="1"),
    ],
)
