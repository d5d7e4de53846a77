"""The shop in figures, as they are now and as plots of the last hour."""

from datetime import UTC, datetime
from typing import NamedTuple

from archstone import world
from archstone.observability import Alert
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Request
from archstone.systems.shop.web.pages.admin.data import Data
from archstone.systems.shop.web.pages.admin.frame import framed
from archstone.systems.shop.web.pages.admin.plots import Plot, as_data, of_orders, rows
from archstone.systems.shop.web.pages.admin.plots import of_run as plots_of_run
from archstone.systems.shop.web.pages.admin.tiles import Tile, of_shop
from archstone.systems.shop.web.pages.admin.tiles import of_run as tiles_of_run

__all__ = ["figures", "figures_now"]

MINUTES = 60
RUN_MINUTES = 5.0


class Told(NamedTuple):
    """An alert, as the page has it."""

    name: str
    why: str
    todo: str
    since: str


async def figures(desk: Desk, request: Request) -> Answer:
    """Show all figures. A script then has them renew themselves; without one, the page shows them as they were."""
    tiles, plots, alerts = await _gathered(desk, request)
    tables = {plot.name: rows(plot, request.locale) for plot in plots}
    return framed(
        request, "figures", {"tiles": tiles, "plots": plots, "rows": tables, "alerts": alerts, "at": world.now()}
    )


async def figures_now(desk: Desk, request: Request) -> Data:
    """Return the same figures for the script."""
    tiles, plots, alerts = await _gathered(desk, request)
    return Data(
        values={
            "at": f"{world.now():%H:%M:%S} UTC",
            "alerts": [each._asdict() for each in alerts],
            "tiles": {tile.name: {"text": tile.text, "tone": tile.tone} for tile in tiles},
            "plots": [as_data(plot, request.locale) for plot in plots],
        }
    )


async def _gathered(desk: Desk, request: Request) -> tuple[tuple[Tile, ...], tuple[Plot, ...], tuple[Told, ...]]:
    summary = await desk.clients.analytics.summary()
    minutes = await desk.clients.analytics.minutes(limit=MINUTES)
    tiles, plots = of_shop(summary, request.locale), of_orders(minutes, world.now(), minutes_shown=MINUTES)
    if desk.console is None:
        return tiles, plots, ()
    now = await desk.console.figures(request.principal)
    history = desk.console.figures_history(request.principal, RUN_MINUTES)
    alerts = tuple(_told(alert) for alert in now.alerts)
    return (*tiles, *tiles_of_run(now, request.locale)), (*plots, *plots_of_run(history)), alerts


def _told(alert: Alert) -> Told:
    return Told(
        alert.name, alert.why, alert.todo, f"{datetime.fromtimestamp(alert.since_us / 1e6, UTC):%d %b %H:%M:%S UTC}"
    )
