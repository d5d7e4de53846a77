"""Behind the counter: how the shop works, what happens inside for an order, and the button that kills the process."""

from archstone.context import Principal
from archstone.gateway import ADMIN, Story
from archstone.systems.shop.orders.contract import OrderUnknownError
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Request
from archstone.systems.shop.web.inside import inside

__all__ = ["behind", "counter", "kill", "last_order", "seen"]


async def behind(desk: Desk, request: Request) -> Answer:
    """Say how the shop works."""
    del desk, request
    return Page(template="behind.html")


async def counter(desk: Desk, request: Request) -> Answer:
    """Show what happened inside for an order, or for the visitor's last one."""
    order_id = request.parts.get("order") or await last_order(desk, request)
    story = None if order_id is None else await seen(desk, order_id)
    values = {"order_id": order_id, "inside": None if story is None else inside(story), "killable": desk.chaos}
    return Page(template="counter.html", values=values)


async def kill(desk: Desk, request: Request) -> Answer:
    """Kill the process, as a power cut would: nothing is answered, because nobody is left to answer.

    The operator has allowed it to every visitor by starting the shop with `--chaos`; the log names who did it.
    """
    if desk.console is None or not desk.console.chaos:
        raise PageMissingError
    desk.console.kill(Principal(request.principal.id, request.principal.roles | {ADMIN}))
    return Page(template="counter.html", values={"order_id": None, "inside": None, "killable": True}, status=202)


async def last_order(desk: Desk, request: Request) -> str | None:
    """Return the id of the visitor's last order. None: there is none."""
    if request.visitor is None:
        return None
    latest = (await desk.clients.orders.orders_of(request.principal.id, limit=1)).items
    return latest[0].id if latest else None


async def seen(desk: Desk, order_id: str) -> Story | None:
    """Return the story of an order, if the visitor may see the order. None: nothing is known of the run.

    Raises:
        PageMissingError: it is not the visitor's.
    """
    try:
        await desk.clients.orders.order(order_id)
    except OrderUnknownError as error:
        raise PageMissingError from error
    return None if desk.console is None else await desk.console.story(order_id)
