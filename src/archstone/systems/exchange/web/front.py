"""The gateway with the pages at its root and the stream beside them; programs come with API keys too."""

import importlib.util
from dataclasses import replace

from archstone.gateway import ASGIApp, Gateway, GatewayParts
from archstone.observability import get_logger
from archstone.systems.exchange.accounts.programs import Programs
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.web.asking import Hall
from archstone.systems.exchange.web.clients import clients_of
from archstone.systems.exchange.web.site import Limits, Site
from archstone.systems.exchange.web.stream import Stream

__all__ = ["Front"]

_log = get_logger("archstone.exchange.web")


class Front(Gateway):
    """A `Gateway` that shows pages. Its rate limit and its bound on requests inside hold for them too, each apart."""

    __slots__ = ()

    def build(self, parts: GatewayParts) -> ASGIApp:
        """Return the ASGI application; see `Gateway.build`."""
        if importlib.util.find_spec("websockets") is None:
            _log.warning("pages are not live, nothing speaks WebSocket: pip install 'archstone[exchange]'")
        floor: Floor = parts.provided[Floor]
        programs: Programs = parts.provided[Programs]
        clients = clients_of(parts.routes)
        verify = programs.verify(parts.verify)
        limits = Limits(
            limiter=None if self.rate_limit is None else self.rate_limit.bind("exchange pages"),
            gate=None if self.shed is None else self.shed.bind("exchange pages", lag=parts.lag),
            access=parts.access,
            time_limit_s=self.time_limit_s,
        )
        hall = Hall(clients, floor.instruments, floor.board.fees)
        stream = Stream(floor, clients, verify=verify, ready=parts.acts)
        mounts: dict[str, ASGIApp] = {
            **parts.mounts, "/ws": stream, "": Site(hall, limits),
        }  # fmt: skip
        return Gateway.build(self, replace(parts, mounts=mounts, verify=verify))
