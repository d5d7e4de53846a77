"""What every page has at hand: whom to ask, and when the shop was opened."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import zip_longest
from typing import Final

from archstone import context, world
from archstone.context import Call
from archstone.errors import ArchstoneError
from archstone.gateway import Console
from archstone.observability import get_logger
from archstone.security import HostCookie
from archstone.systems.shop.carts.contract import CartUnknownError
from archstone.systems.shop.catalog.contract import Category, Product, Recommendations, UnknownProductError
from archstone.systems.shop.programs.programs import Programs
from archstone.systems.shop.users.contract import SessionEndedError, browser_mark
from archstone.systems.shop.web.clients import PAGES, Clients
from archstone.systems.shop.web.cookies import CART, SESSION
from archstone.systems.shop.web.exchange import Request
from archstone.systems.shop.window import ALL, LISTS, Window

__all__ = ["SESSION_KEEP_S", "Desk", "as_pages"]

CART_KEEP_S: Final = 30 * 86_400
SESSION_KEEP_S: Final = 14 * 86_400
MIX: Final = 20
"""Products on the front page."""
_log = get_logger("archstone.shop.web")


def as_pages() -> Call:
    """Return the running call with the pages themselves as the principal: `with context.enter(as_pages()): ...`."""
    return context.current()._replace(principal=PAGES)


class Desk:
    """Made once per run."""

    def __init__(
        self, clients: Clients, window: Window, console: Console | None = None, programs: Programs | None = None
    ) -> None:
        self.clients = clients
        self.programs = programs
        """What lets programs in. None: there is none."""
        self._window = window
        self.console = console
        """What is known of the run behind the pages. None: nothing."""
        self.opened_at: datetime = world.now()
        """When this process began to serve pages."""

    async def recognise(self, request: Request) -> None:
        """Find out whose session the request's cookie names. A session that has ended is nobody's."""
        token = request.cookies.get(SESSION)
        if token is None:
            return
        mark = browser_mark(token)
        with context.enter(as_pages()):
            try:
                request.visitor = await self.clients.browsers.visitor(mark)
            except SessionEndedError:
                return
            request.mark = mark
            if request.visitor.renew:
                await self.clients.browsers.renew(mark)
                request.renewed = True

    async def shelves(self) -> tuple[Category, ...]:
        """Return the categories."""
        return tuple(map(_titled, (await self.clients.catalog.categories()).items))

    @property
    def chaos(self) -> bool:
        """Whether visitors may kill the process: the operator has said so, and somebody starts it again."""
        return self.console is not None and self.console.chaos

    async def mix(self) -> tuple[Product, ...]:
        """Return a few products of every shelf, neighbours from different ones."""
        return (await self._window.shown("mix", self._mixed, Recommendations, tags=(LISTS, ALL))).items

    async def _mixed(self) -> Recommendations:
        full = sorted((shelf for shelf in await self.shelves() if shelf.products), key=lambda shelf: -shelf.products)
        each = -(-MIX // max(1, min(len(full), MIX)))
        piles = [(await self.clients.catalog.products(category=shelf.id, limit=each)).items for shelf in full[:MIX]]
        mixed = [product for layer in zip_longest(*piles) for product in layer if product is not None]
        return Recommendations(items=tuple(mixed[:MIX]))

    async def products(self, skus: Iterable[str]) -> Mapping[str, Product]:
        """Return those that are on the shelf, by SKU."""
        wanted = tuple(dict.fromkeys(skus))
        with suppress(UnknownProductError):
            return {each.sku: each for each in await self.clients.catalog.pick(wanted)}
        found: dict[str, Product] = {}
        for sku in wanted:
            with suppress(UnknownProductError):
                found |= {each.sku: each for each in await self.clients.catalog.pick((sku,))}
        return found

    async def free(self, skus: Iterable[str]) -> Mapping[str, int]:
        """Return how many pieces there are to buy at this instant, by SKU; of what is unknown there is none."""
        return {each.sku: each.free for each in await self.clients.inventory.counted(tuple(dict.fromkeys(skus)))}

    async def sold_out(self, products: Iterable[Product]) -> frozenset[str]:
        """Return the SKUs of which nothing is free. Empty also if the inventory does not answer: pages go without."""
        with suppress(ArchstoneError):
            return frozenset(await self.clients.inventory.sold_out(tuple({each.sku: None for each in products})))
        return frozenset()

    async def pieces(self, request: Request) -> int:
        """Return how many pieces are in the visitor's cart."""
        if request.cart is None:
            return 0
        try:
            return (await self.clients.carts.size(request.cart)).pieces
        except CartUnknownError:
            return 0

    async def cart_to_fill(self, request: Request) -> tuple[str, tuple[HostCookie, ...]]:
        """Return the name of a cart that is there, and for a guest the cookie that remembers it from now on.

        Raises:
            CartsFullError: there are too many carts of guests.
        """
        if request.cart is not None:
            try:
                await self.clients.carts.size(request.cart)
            except CartUnknownError:
                pass  # forgotten after 30 days, while the browser still knew it
            else:
                return request.cart, () if request.visitor else (HostCookie(CART, request.cart, CART_KEEP_S),)
        name = (await self.clients.carts.open()).cart
        return name, (HostCookie(CART, name, CART_KEEP_S),)

    async def bring_cart(self, request: Request) -> tuple[bool, tuple[HostCookie, ...]]:
        """Move what a guest has put into the cart into the cart of the visitor, who has signed in.

        Returns whether something found no room, and what becomes of the guest's cookie. If it fails, the cookie
        stays, and it is tried again when the cart is looked at.
        """
        if request.guest_cart is None:
            return False, ()
        try:
            merged = await self.clients.carts.merge(request.guest_cart)
        except ArchstoneError as error:
            _log.warning("a guest's cart is not merged yet", exc_info=error)
            return False, ()
        return bool(merged.dropped), (HostCookie(CART, ""),)


def _titled(shelf: Category) -> Category:
    """Return the shelf with a title to read: an import that knows none names it as its id, such as `mens-shoes`."""
    if shelf.title != shelf.id:
        return shelf
    return shelf.model_copy(update={"title": shelf.id.replace("-", " ").capitalize()})
