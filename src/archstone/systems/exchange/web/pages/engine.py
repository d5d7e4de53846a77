"""How long the engine takes: its own histogram."""

from archstone.systems.exchange.desk.contract import Latency
from archstone.systems.exchange.desk.latency import ENGINE
from archstone.systems.exchange.web.asking import Answer, Hall, Page, Request

__all__ = ["show"]


async def show(hall: Hall, request: Request) -> Answer:
    """Show the histograms."""
    del request
    found = await hall.clients.market.latency()
    elsewhere = not any(each.what == ENGINE for each in found.items)
    values = {"measured": [(each, _bars(each)) for each in found.items], "elsewhere": elsewhere}
    return Page(template="engine.html", values=values)


def _bars(latency: Latency) -> list[tuple[int, int, int]]:
    """Return, four buckets in one, the bound in ns, the count, and the height in percent of the highest."""
    four = [latency.buckets[first : first + 4] for first in range(0, len(latency.buckets), 4)]
    counts = [sum(each.count for each in together) for together in four]
    most = max(counts, default=0) or 1
    bounds = [together[-1].at_most_ns for together in four]
    return [(bound, count, -(-count * 100 // most)) for bound, count in zip(bounds, counts, strict=True)]
