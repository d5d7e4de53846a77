"""The gateway with the pages at its root: what the operations, health and documents do not claim is a page.

A gateway gives mounted applications nothing of the run behind it. The pages need it: who keeps which contract, and
whether the shop is about to stop. `build` is where both come together, so this is a gateway that builds one mount more.
"""

from dataclasses import replace

from archstone.gateway import ASGIApp, Gateway, GatewayParts
from archstone.security import OAuthApp
from archstone.systems.shop.images.mount import Images
from archstone.systems.shop.images.proxy import ImageProxy
from archstone.systems.shop.programs.programs import Programs
from archstone.systems.shop.web.clients import clients_of
from archstone.systems.shop.web.site import Limits, Site
from archstone.systems.shop.window import Window

__all__ = ["Front"]


class Front(Gateway):
    """A `Gateway` that shows pages. Its rate limit and its bound on requests inside hold for them too, each apart."""

    __slots__ = ()

    def build(self, parts: GatewayParts) -> ASGIApp:
        """Return the ASGI application; see `Gateway.build`."""
        limits = Limits(
            limiter=None if self.rate_limit is None else self.rate_limit.bind("shop pages", store=parts.shared),
            gate=None if self.shed is None else self.shed.bind("shop pages", lag=parts.lag),
            access=parts.access,
            time_limit_s=self.time_limit_s,
        )
        clients = clients_of(parts.routes)
        proxy: ImageProxy | None = parts.provided.get(ImageProxy)
        programs: Programs | None = parts.provided.get(Programs)
        images = Images(clients.catalog, proxy)
        ready, console = (lambda: parts.ready()[0]), parts.console
        window: Window = parts.provided[Window]
        site = Site(
            clients, limits, window=window, ready=ready, console=console, proxied=proxy is not None, programs=programs
        )
        mounts: dict[str, ASGIApp] = {**parts.mounts, "/images": images, "": site}
        if programs is not None:
            programs.people.connect(clients.browsers, clients.roles)
            oauth = OAuthApp(programs.oauth)
            mounts |= {"/oauth": oauth, "/.well-known": oauth.well_known}
            parts = replace(parts, verify=programs.verify(parts.verify))
        return Gateway.build(self, replace(parts, mounts=mounts))
