"""How long the engine takes: its own histogram."""

from archstone.systems.exchange.desk.contract import Latency
from archstone.systems.exchange.web.asking import Answer, Hall, Page, Request

__all__ = ["show"]


async def show(hall: Hall, request: Request) -> Answer:
    """Show the histograms."""
    del request
    found = await hall.clients.market.latency()
    return Page(template="engine.html", values={"measured": [(each, _bars(each)) for each in found.items]})


def _bars(latency: Latency) -> list[tuple[int, int, int]]:
    """Return for each bucket its bound in ns, its count, and its height in percent of the highest."""
    most = max((each.count for each in latency.buckets), default=0) or 1
    return [(each.at_most_ns, each.count, -(-each.count * 100 // most)) for each in latency.buckets]
