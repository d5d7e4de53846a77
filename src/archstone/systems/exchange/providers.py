"""What the exchange's services are given besides databases and clients, made from the system's options.

Which sequencer, and which venue behind it, is decided in `sequencer` and nowhere else.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, cast

from archstone.data import Database
from archstone.errors import ConfigError
from archstone.observability import get_logger
from archstone.security import Audits, FileAnchor, KeyFile, PasswordPolicy, Passwords, Tokens
from archstone.services import Environment
from archstone.systems.exchange.accounts.guard import Guard
from archstone.systems.exchange.accounts.programs import Programs
from archstone.systems.exchange.bots import Bots, Market
from archstone.systems.exchange.clearing import AccountRule
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.desk.gates import Address, Gates
from archstone.systems.exchange.desk.latency import ENGINE, Clocked, Clocks
from archstone.systems.exchange.desk.participant import Participant
from archstone.systems.exchange.history import Archive, Shelf
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.nodes import Nodes, network_of
from archstone.systems.exchange.roles import OWN_ACCOUNT
from archstone.systems.exchange.sequencer import DurableSequencer, MemorySequencer, Sequencer
from archstone.systems.exchange.tape import Symbols
from archstone.systems.exchange.venue import fastest

__all__ = [
    "audits",
    "clocks",
    "floor",
    "gates",
    "guard",
    "owners",
    "passwords",
    "programs",
    "sequencer",
    "shelf",
    "symbols",
    "tokens",
]

_POLICY: Final = PasswordPolicy(words=("archstone", "exchange"))
_TOKEN_S: Final = 8 * 3600
"""Seconds that a token of a program is good for: a trading day."""
_AUDIT_S: Final = 730 * 86_400.0
_HERE: Final = ("disk", "memory")
"""Where commands are kept if this process keeps them."""
_NODES: Final = 2
_log = get_logger("archstone.exchange")


def clocks(environment: Environment) -> Clocks:  # noqa: ARG001
    """Return what is measured."""
    return Clocks()


@asynccontextmanager
async def sequencer(environment: Environment) -> AsyncGenerator[Sequencer]:
    """Return what takes commands: nodes elsewhere, or here, over the fastest venue that is installed and clocked."""
    wanted = _option(environment, "sequencer", "disk")
    _check_place(environment.data, wanted)
    if wanted not in _HERE:
        async with _nodes(environment, wanted) as nodes:
            yield nodes
        return
    kind = fastest()
    _log.info("engine", venue=kind.__name__)
    took = cast("Clocks", environment.provided[Clocks]).add(ENGINE, kind.__name__)
    clocked = Clocked(kind, took)
    if wanted == "memory":
        yield MemorySequencer(clocked())
        return
    async with DurableSequencer(environment.data / "sequencer", clocked) as kept:
        took.clear()  # what was done again at the start is no figure of this run
        yield kept


def _nodes(environment: Environment, wanted: str) -> Nodes:
    """Return the nodes that keep commands. ConfigError: what the options say names none, or none that may be asked."""
    addresses = [each.strip() for each in wanted.split(",")]
    tls, domain = (_option(environment, name, "") for name in ("sequencer_tls", "sequencer_domain"))
    if len(addresses) != _NODES:
        raise ConfigError(f"option sequencer={wanted!r}: write disk, memory, or both nodes, HOST:PORT,HOST:PORT")
    try:
        network = network_of(tls, domain=domain, addresses=addresses)
    except ConfigError as error:
        raise ConfigError(f"option sequencer={wanted!r}: {error} (--set sequencer_tls=…)") from error
    return Nodes(addresses, network=network)


def _check_place(data: Path, wanted: str) -> None:
    """Refuse a data folder that was of another sequencer: its readers would go on in the middle of other commands."""
    kept, readers = data / "sequencer", data / "readers"
    if wanted not in _HERE and kept.exists():
        raise ConfigError(
            f"{kept} holds the commands of this exchange, and option sequencer={wanted} names nodes: move it to be the "
            "folder of one of them (docs/exchange/two-nodes.md), or begin with another --data"
        )
    if wanted == "disk" and readers.exists() and not kept.exists():
        raise ConfigError(
            f"{data} is of an exchange whose commands nodes keep: name them, --set sequencer=HOST:PORT,HOST:PORT, or "
            "begin with another --data"
        )


@asynccontextmanager
async def floor(environment: Environment) -> AsyncGenerator[Floor]:
    """Return where orders are handed in; with bots that trade there, if the options want them."""
    below: Sequencer = environment.provided[Sequencer]
    kept = None if isinstance(below, MemorySequencer) else environment.data / "readers"
    async with AsyncExitStack() as life:
        made = Floor(below, INSTRUMENTS, checkpoint=kept, clocks=environment.provided[Clocks])
        await life.enter_async_context(made)
        if (bots := _bots(environment)) is not None:
            await life.enter_async_context(bots.running(Participant(made)))
        yield made


def shelf(environment: Environment) -> Shelf:
    """Return where history is kept: in the data folder, if the options want it."""
    if _option(environment, "history", "off") == "off":
        return Shelf()
    return Shelf(Archive(environment.data / "history", symbols=environment.provided[Symbols]))


def symbols(environment: Environment) -> Symbols:  # noqa: ARG001
    """Return how books are called."""
    return Symbols({each.book: each.symbol for each in INSTRUMENTS.all})


def owners(environment: Environment) -> AccountRule:  # noqa: ARG001
    """Return whose the account of a statement is."""
    return OWN_ACCOUNT


def _bots(environment: Environment) -> Bots | None:
    """Return the bots that make a market. None: they are not wanted."""
    seed = _option(environment, "seed", "1")
    if not seed.isascii() or not seed.isdigit():
        raise ConfigError(f"option seed={seed!r}: write a whole number")
    if _option(environment, "bots", "on") == "off":
        return None
    markets = [Market(book=each.book, price=each.opening, value=each.value) for each in INSTRUMENTS.all]
    return Bots(markets, seed=int(seed))


def gates(environment: Environment) -> Gates:
    """Return where programs come in besides HTTP."""
    found = {name: _option(environment, name, "off") for name in ("binary", "fix", "feed")}
    addresses = {name: Address.parse(text, called=f"option {name}") for name, text in found.items()}
    is_kept = not isinstance(environment.provided[Sequencer], MemorySequencer)
    return Gates(**addresses, kept=environment.data / "readers" if is_kept else None)


def audits(environment: Environment) -> Audits:
    """Return the audit logs: that of the system in `audit.db`, their key and their anchor in files of their own."""
    key = KeyFile(environment.data / "audit-key.json").load().keys[-1]
    anchor = FileAnchor(environment.data / "audit-anchor.json", key=key)
    url = f"sqlite:///{(environment.data / 'audit.db').absolute()}"
    return Audits(url, key=key, anchor=anchor, keep_s=_AUDIT_S)


def passwords(environment: Environment) -> Passwords:  # noqa: ARG001
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
