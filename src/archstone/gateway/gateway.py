"""The front door of a system, as a value: what `System(..., gateway=Gateway(...))` is given.

    gateway=Gateway(rate_limit=RateLimit(50, burst=100), shed=Shed(500, max_lag_s=0.5), urgent=("Orders.place",))

Only public operations are routed. `runtime` calls `build` with what runs behind the door; anybody else can, too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from archstone.context import Principal
from archstone.errors import ConfigError, DeniedError
from archstone.gateway.admission import Tokens, Verify
from archstone.gateway.app import GatewayApp, Policies
from archstone.gateway.bodies import Bodies
from archstone.gateway.console import Console
from archstone.gateway.encoding import Compress
from archstone.gateway.mounts import mounts
from archstone.gateway.rates import Rates
from archstone.gateway.watchers import EVERYBODY, HERE, Watchers, networks_of
from archstone.observability import render
from archstone.resilience import RateLimit, SharedState, Shed, check
from archstone.services import BY_ROLE, Access, Operation, Transport, access_faults
from archstone.services.http import ASGIApp, ContractApp, in_time

__all__ = ["Gateway", "GatewayParts"]

_RATE_LIMIT: Final = RateLimit(50, burst=100)
_SHED: Final = Shed(500, max_lag_s=0.5, turn_s=0.015)
_COMPRESS: Final = Compress()


def _no_tokens(token: str) -> Principal:  # noqa: ARG001 - the form of Verify
    raise DeniedError("this system takes no tokens")


def _verify_by(tokens: Tokens) -> Verify:
    return lambda text: tokens.verify(text).principal


def _are_networks(texts: tuple[str, ...]) -> bool:
    try:
        return texts == EVERYBODY or bool(networks_of(texts)) or not texts
    except ValueError:
        return False


def _always_ready() -> tuple[bool, dict[str, object]]:
    return True, {}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayParts:
    """What stands behind the door: made by whoever runs the system."""

    routes: Sequence[tuple[Operation, Transport]]
    """Every operation of the system; those that are not public are left out here."""
    verify: Verify = _no_tokens
    """Whose token it is; raises DeniedError."""
    access: Access = BY_ROLE
    """Who may call what."""
    ready: Callable[[], tuple[bool, dict[str, object]]] = _always_ready
    """Whether requests may come, and what is said about it at `/health/ready`."""
    acts: Callable[[], bool] = lambda: True
    """Whether the system has started and does not drain: what stays open, such as a stream, ends when it does."""
    metrics: Callable[[], str] = render
    """Text for `/metrics`."""
    lag: Callable[[], float] | None = None
    """Lag of the event loop in seconds, for shedding. None: not known."""
    title: str = "Archstone"
    version: str = "1.0"
    mounts: Mapping[str, ASGIApp] = field(default_factory=dict[str, ASGIApp])
    """More applications by path prefix, beside those of the gateway itself."""
    provided: Mapping[type, Any] = field(default_factory=dict[type, Any])
    """What the system's providers have made, by type: a front door may need what services are given."""
    shared: SharedState | None = None
    """Where `rate_limit` is counted for all processes, open. None: in this one."""
    console: Console | None = None
    """What mounted pages may see of the run and do to it. None: there is none, as when no System runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What the door looks like and whom it lets in."""

    prefix: str = "/api/v1"
    """Stands before every path. Empty, or beginning and not ending with a slash."""
    tokens: Tokens | None = None
    """Verifies access tokens in place of the system's own. None: the system's own."""
    rate_limit: RateLimit | None = _RATE_LIMIT
    """Requests per principal, programs that act for it included, or per client address of those not signed in. None: no
    limit."""
    program_ratio: float = 0.5
    """Which part of `rate_limit`, and of `pending_bodies_each`, one program that acts for a principal may take: an API
    key, an app. In (0, 1]."""
    shed: Shed | None = _SHED
    """Requests inside at once. None: no limit."""
    urgent: tuple[str | Callable[..., Any], ...] = ()
    """Operations that may use the reserve of `shed`: `"Orders.place"` or `Orders.place`."""
    body_limit_bytes: int = 1_000_000
    """Longest request body. Above 0."""
    pending_bodies: int = 500
    """Request bodies under way at once, in all. At least 1. They hold no place of `shed`."""
    pending_bodies_each: int = 20
    """Of these, those of one principal, or of one client address of those not signed in. At least 1."""
    time_limit_s: float = 30.0
    """Longest time for a request, and for its body to arrive, seconds. Above 0."""
    compress: Compress | None = _COMPRESS
    """How answers to queries are packed. None: not at all."""
    mounts: Mapping[str, ASGIApp] = field(default_factory=dict[str, ASGIApp])
    """Other ASGI applications by path prefix: `{"/shop": pages}`. An empty prefix takes what nobody else takes."""
    documents: bool = True
    """Whether `/docs` and `/openapi.json` tell everybody about the public operations. False: there are none."""
    metrics_from: tuple[str, ...] = HERE
    """Addresses and networks that see `/metrics`, if no proxy has passed the request on; `("*",)` is everybody. For all
    others there is no such page."""

    def __post_init__(self) -> None:
        """Check all settings at once."""
        fits = not self.prefix or (self.prefix.startswith("/") and not self.prefix.endswith("/"))
        check(
            self,
            prefix=(fits, "empty, or written as '/api/v1'"),
            program_ratio=(0 < self.program_ratio <= 1, "in (0, 1]"),
            body_limit_bytes=(self.body_limit_bytes > 0, "above 0"),
            pending_bodies=(self.pending_bodies >= 1, "at least 1"),
            pending_bodies_each=(self.pending_bodies_each >= 1, "at least 1"),
            time_limit_s=(self.time_limit_s > 0, "above 0"),
            metrics_from=(_are_networks(self.metrics_from), "addresses or networks, such as 10.0.0.0/8, or only *"),
        )

    def build(self, parts: GatewayParts) -> ASGIApp:
        """Return the ASGI application.

        Raises:
            ConfigError: Two operations claim one path, one says not who may call it, an urgent one is not public, or
                mounts clash.
        """
        routes = [(operation, transport) for operation, transport in parts.routes if operation.public]
        if faults := access_faults([operation for operation, _ in routes], None):
            raise ConfigError(f"gateway: {'; '.join(faults)}")
        contracts = ContractApp(
            routes,
            prefix=self.prefix,
            strict=True,
            title=parts.title,
            version=parts.version,
            body_limit_bytes=self.body_limit_bytes,
            time_limit_s=self.time_limit_s,
        )
        policies = Policies(
            verify=parts.verify if self.tokens is None else _verify_by(self.tokens),
            access=parts.access,
            rates=Rates(self.rate_limit, program_ratio=self.program_ratio, store=parts.shared),
            gate=None if self.shed is None else self.shed.bind("gateway", lag=parts.lag),
            bodies=Bodies(
                self.pending_bodies,
                limit_each=self.pending_bodies_each,
                limit_program=max(1, int(self.pending_bodies_each * self.program_ratio)),
                in_time=in_time(self.time_limit_s),
            ),
            compress=self.compress,
            urgent=self._urgent({operation.full_name for operation, _ in routes}),
            watchers=Watchers(self.metrics_from),
        )
        return GatewayApp(
            contracts,
            policies,
            ready=parts.ready,
            metrics=parts.metrics,
            documents=self.documents,
            mounts=mounts(self.mounts, parts.mounts),
            title=parts.title,
            version=parts.version,
        )

    def _urgent(self, public: set[str]) -> frozenset[str]:
        names = frozenset(each if isinstance(each, str) else each.__qualname__ for each in self.urgent)
        if unknown := sorted(names - public):
            raise ConfigError(f"gateway: urgent names {', '.join(unknown)}, which is no public operation here")
        return names
