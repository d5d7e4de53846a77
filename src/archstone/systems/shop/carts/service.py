"""Carts: two tables, and one rule about who may touch which.

The name of a guest's cart is stored as its hash only, so that whoever reads the file cannot walk into carts.
"""

import base64
import hashlib
from typing import Final, NamedTuple

from archstone import world
from archstone.services import Service, every, on
from archstone.systems.shop.carts.contract import (
    MAX_LINES,
    Cart,
    CartFullError,
    CartLine,
    Carts,
    CartsFullError,
    CartSize,
    CartUnknownError,
    GuestCart,
    Merged,
)
from archstone.systems.shop.catalog.contract import Catalog, Product, UnknownProductError
from archstone.systems.shop.orders.events import OrderPlaced
from archstone.systems.shop.users.events import AccountDeleted
from archstone.systems.shop.values import MAX_MINOR_UNITS, Money

__all__ = ["CartsService"]

KEEP_S: Final = 30 * 86_400
"""Seconds that a guest's cart is kept after its last change."""
KEEP_EMPTY_S: Final = 86_400
"""The same for one with nothing in it."""
MAX_GUEST_CARTS: Final = 200_000
"""Carts of guests at once: 100 MB at the outside. How fast they come is limited by the gateway."""
SWEEP_S: Final = 3600.0
SWEEP_ROWS: Final = 1_000
_NAME_BYTES: Final = 32

_SIZE: Final = "SELECT count(*) AS lines, coalesce(sum(quantity), 0) AS pieces FROM lines WHERE owner = :owner"
_LINES: Final = "SELECT sku, quantity, added_at FROM lines WHERE owner = :owner ORDER BY added_at, sku"
_PUT: Final = (
    "INSERT INTO lines (owner, sku, quantity, added_at) VALUES (:owner, :sku, :quantity, :at)"
    " ON CONFLICT (owner, sku) DO UPDATE SET quantity = excluded.quantity"
)
_TOUCH: Final = "UPDATE carts SET touched_at = :at WHERE owner = :owner"
_MINE: Final = (
    "INSERT INTO carts (owner, guest, touched_at) VALUES (:owner, 0, :at)"
    " ON CONFLICT (owner) DO UPDATE SET touched_at = excluded.touched_at"
)
# The bound in one statement: no row changes when there are as many as may be.
_ONE_MORE: Final = "UPDATE guests SET carts = carts + 1 WHERE carts < :limit"
_SWEEP: Final = """
    DELETE FROM carts WHERE owner IN (
        SELECT owner FROM carts c WHERE c.guest = 1 AND (c.touched_at < :before OR (
            c.touched_at < :before_empty AND NOT EXISTS (SELECT 1 FROM lines l WHERE l.owner = c.owner)))
        ORDER BY c.touched_at LIMIT :limit)
"""


class _Line(NamedTuple):
    sku: str
    quantity: int
    added_at: int


class CartsService(Service, Carts, name="carts"):
    """Keeps `Carts`."""

    catalog: Catalog

    async def open(self) -> GuestCart:
        if not await self.tx.execute(_ONE_MORE, limit=MAX_GUEST_CARTS):
            raise CartsFullError
        name = base64.urlsafe_b64encode(world.secret_bytes(_NAME_BYTES)).decode("ascii").rstrip("=")
        await self.tx.execute(
            "INSERT INTO carts (owner, guest, touched_at) VALUES (:owner, 1, :at)",
            owner=_owner_of(name), at=world.now_us(),
        )  # fmt: skip
        return GuestCart(cart=name)

    async def cart(self, cart: str) -> Cart:
        lines = await self.db.all(_Line, _LINES, owner=await self._seen(cart))
        found = await self._products(tuple(line.sku for line in lines))
        shown = tuple(CartLine(sku=each.sku, quantity=each.quantity, product=found.get(each.sku)) for each in lines)
        return Cart(lines=shown, pieces=sum(line.quantity for line in lines), total=_total(shown))

    async def size(self, cart: str) -> CartSize:
        return await self.db.one(CartSize, _SIZE, owner=await self._seen(cart))

    async def put(self, cart: str, sku: str, quantity: int) -> CartSize:
        owner = self._owner(cart)
        if quantity:
            await self.catalog.pick((sku,))  # before the transaction, which begins with its first statement, below
        at = await self._touch(cart, owner)
        if quantity:
            await self.tx.execute(_PUT, owner=owner, sku=sku, quantity=quantity, at=at)
        else:
            await self.tx.execute("DELETE FROM lines WHERE owner = :owner AND sku = :sku", owner=owner, sku=sku)
        lines, pieces = await self._measured(owner)
        if lines > MAX_LINES:
            raise CartFullError(sku)
        return CartSize(lines=lines, pieces=pieces)

    async def clear(self, cart: str) -> None:
        owner = self._owner(cart)
        await self._touch(cart, owner)
        await self.tx.execute("DELETE FROM lines WHERE owner = :owner", owner=owner)

    async def merge(self, guest: str) -> Merged:
        mine, other = self.principal.id, _owner_of(guest)
        coming = await self.tx.all(_Line, _LINES, owner=other)
        have = {line.sku: line.quantity for line in await self.tx.all(_Line, _LINES, owner=mine)}
        await self.tx.execute(_MINE, owner=mine, at=world.now_us())
        dropped: list[str] = []
        for line in coming:
            if line.sku not in have and len(have) == MAX_LINES:
                dropped.append(line.sku)
                continue
            have[line.sku] = max(line.quantity, have.get(line.sku, 0))
            await self.tx.execute(_PUT, owner=mine, sku=line.sku, quantity=have[line.sku], at=line.added_at)
        gone = await self.tx.execute("DELETE FROM carts WHERE owner = :owner AND guest = 1", owner=other)
        await self._fewer(gone)
        return Merged(lines=len(have), pieces=sum(have.values()), dropped=tuple(dropped))

    @on(OrderPlaced)
    async def take_out(self, event: OrderPlaced) -> None:
        """Take out of the customer's cart what has been ordered, and leave what was put in beyond it."""
        owner = event.customer_id
        if await self.tx.first(str, "SELECT owner FROM carts WHERE owner = :owner", owner=owner) is None:
            return
        ordered = [{"owner": owner, "sku": line.sku, "quantity": line.quantity} for line in event.lines]
        same = "owner = :owner AND sku = :sku AND quantity"
        await self.tx.many(f"DELETE FROM lines WHERE {same} <= :quantity", ordered)  # noqa: S608 - a constant
        await self.tx.many(
            f"UPDATE lines SET quantity = quantity - :quantity WHERE {same} > :quantity",  # noqa: S608 - a constant of this module
            ordered,
        )

    @on(AccountDeleted)
    async def forget_owner(self, event: AccountDeleted) -> None:
        """Delete the cart of who is no customer any more."""
        await self.tx.execute("DELETE FROM carts WHERE owner = :owner AND guest = 0", owner=event.user_id)

    @every(SWEEP_S)
    async def forget_old(self) -> None:
        """Delete carts of guests that nobody has changed for a month, and empty ones after a day."""
        now_us = world.now_us()
        before, before_empty = now_us - KEEP_S * 1_000_000, now_us - KEEP_EMPTY_S * 1_000_000
        gone = SWEEP_ROWS
        while gone == SWEEP_ROWS:
            gone = await self.tx.execute(_SWEEP, before=before, before_empty=before_empty, limit=SWEEP_ROWS)
            await self._fewer(gone)

    def _owner(self, cart: str) -> str:
        """Return under what a cart is kept.

        Raises:
            CartUnknownError: it is `me`, and nobody is signed in.
        """
        if cart != "me":
            return _owner_of(cart)
        if not self.principal.signed_in:
            raise CartUnknownError
        return self.principal.id

    async def _seen(self, cart: str) -> str:
        """Return under what a cart that is there is kept. A customer's is always there, empty at first."""
        owner = self._owner(cart)
        if cart != "me":
            known = await self.db.first(str, "SELECT owner FROM carts WHERE owner = :owner", owner=owner)
            if known is None:
                raise CartUnknownError
        return owner

    async def _touch(self, cart: str, owner: str) -> int:
        at = world.now_us()
        if not await self.tx.execute(_MINE if cart == "me" else _TOUCH, owner=owner, at=at):
            raise CartUnknownError
        return at

    async def _measured(self, owner: str) -> tuple[int, int]:
        found = await self.tx.first(tuple[int, int], _SIZE, owner=owner)
        return found or (0, 0)

    async def _fewer(self, carts: int) -> None:
        if carts:
            await self.tx.execute("UPDATE guests SET carts = carts - :gone WHERE id = 1", gone=carts)

    async def _products(self, skus: tuple[str, ...]) -> dict[str, Product]:
        """Return those products that are for sale. One call, and one more for each that is not."""
        wanted = list(skus)
        while wanted:
            try:
                return {product.sku: product for product in await self.catalog.pick(tuple(wanted))}
            except UnknownProductError as missing:
                if missing.sku not in wanted:
                    raise
                wanted.remove(missing.sku)
        return {}


def _owner_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _total(lines: tuple[CartLine, ...]) -> Money | None:
    amounts = [
        (line.product.price.amount * line.quantity, line.product.price.currency)
        for line in lines
        if line.product is not None
    ]
    total = sum(amount for amount, _ in amounts)
    if len({currency for _, currency in amounts}) != 1 or total > MAX_MINOR_UNITS:
        return None
    return Money(amount=total, currency=amounts[0][1])
