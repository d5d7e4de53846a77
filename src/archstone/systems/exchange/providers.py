"""What the exchange's services are given besides databases and clients, made from the system's options.

Which sequencer, and which venue behind it, is decided in `floor` and nowhere else. Whoever else reads the stream asks
for a `Floor`, and follows its `sequencer`.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

from archstone import context
from archstone.context import Call
from archstone.data import Database
from archstone.errors import ConfigError
from archstone.observability import get_logger
from archstone.security import Audits, FileAnchor, KeyFile, PasswordPolicy, Passwords, Tokens
from archstone.services import Environment
from archstone.systems.exchange.accounts.guard import Guard
from archstone.systems.exchange.accounts.programs import Programs
from archstone.systems.exchange.bots import Exchange, run_bots
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.desk.latency import ClockedVenue, Clocks
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue

__all__ = ["audits", "floor", "guard", "passwords", "programs", "tokens"]

_POLICY: Final = PasswordPolicy(words=("archstone", "exchange"))
_TOKEN_S: Final = 8 * 3600
"""Seconds that a token of a program is good for: a trading day."""
_AUDIT_S: Final = 730 * 86_400.0
_log = get_logger("archstone.exchange")


@asynccontextmanager
async def floor(environment: Environment) -> AsyncGenerator[Floor]:
    """Return where orders are handed in, over the sequencer; with bots that trade there, if the options want them."""
    clocks = Clocks()
    venue = ReferenceVenue()
    clocked = ClockedVenue(venue, clocks.add("matching and risk, per command", type(venue).__name__))
    sequencer = MemorySequencer(clocked)
    async with Floor(sequencer, INSTRUMENTS, clocks=clocks) as made:
        trading = _trading(environment, sequencer)
        try:
            yield made
        finally:
            if trading is not None:
                trading.cancel()
                await asyncio.wait([trading])


def _trading(environment: Environment, exchange: Exchange) -> "asyncio.Task[None] | None":
    """Begin to have bots trade. None: they are not wanted."""
    seed = _option(environment, "seed", "1")
    if not seed.isascii() or not seed.isdigit():
        raise ConfigError(f"option seed={seed!r}: write a whole number")
    if _option(environment, "bots", "on") == "off":
        return None
    with context.enter(Call()):
        task = asyncio.create_task(run_bots(exchange, INSTRUMENTS.all, int(seed)), name="exchange bots")
    task.add_done_callback(_tell_failed)
    return task


def _tell_failed(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the bots trade no more", exc_info=error)


def audits(environment: Environment) -> Audits:
    """Return the audit logs: that of the system in `audit.db`, their key and their anchor in files of their own."""
    key = KeyFile(environment.data / "audit-key.json").load().keys[-1]
    anchor = FileAnchor(environment.data / "audit-anchor.json", key=key)
    url = f"sqlite:///{(environment.data / 'audit.db').absolute()}"
    return Audits(url, key=key, anchor=anchor, keep_s=_AUDIT_S)


def passwords(environment: Environment) -> Passwords:  # noqa: ARG001 - as every provider
    """Return what hashes and checks passwords."""
    return Passwords(policy=_POLICY)


def tokens(environment: Environment) -> Tokens:
    """Return what signs and verifies access tokens, with keys made at the first start."""
    keys = KeyFile(environment.data / "keys.json").load()
    return Tokens(keys, issuer=environment.system, audience=f"{environment.system}-api", lifetime_s=_TOKEN_S)


def guard(environment: Environment) -> Guard:  # noqa: ARG001
    """Return what guards accounts."""
    return Guard()


def programs(environment: Environment) -> Programs:
    """Return what lets programs in by API keys, whose pepper is made at the first start."""
    db = Database(environment.database_url("programs"), name=f"{environment.system}/programs")
    return Programs(db, pepper=KeyFile(environment.data / "api-keys.json").load())


def _option(environment: Environment, name: str, default: str) -> str:
    return cast("Mapping[str, str]", environment.settings.get("options", {})).get(name, default)
