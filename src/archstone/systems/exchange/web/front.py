"""The gateway with the pages at its root and the stream beside them; programs come with API keys too."""

from dataclasses import replace

from archstone.gateway import ASGIApp, Gateway, GatewayParts
from archstone.systems.exchange.accounts.programs import Programs
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.web.asking import Hall
from archstone.systems.exchange.web.clients import clients_of
from archstone.systems.exchange.web.site import Limits, Site
from archstone.systems.exchange.web.stream import Stream

__all__ = ["Front"]


class Front(Gateway):
    """A `Gateway` that shows pages. Its rate limit and its bound on requests inside hold for them too, each apart."""

    __slots__ = ()

    def build(self, parts: GatewayParts) -> ASGIApp:
        """Return the ASGI application; see `Gateway.build`."""
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
        stream = Stream(floor, clients, verify=verify, ready=lambda: parts.ready()[0])
        mounts: dict[str, ASGIApp] = {
            **parts.mounts, "/ws": stream, "": Site(Hall(clients, floor.instruments), limits),
        }  # fmt: skip
        return Gateway.build(self, replace(parts, mounts=mounts, verify=verify))
