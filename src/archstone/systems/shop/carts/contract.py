"""What carts promises: to remember what somebody means to buy, before and after they sign in.

A customer's cart is called `me`. A guest's is called by the unguessable name that `open` gives: whoever knows it may
look into the cart and change it, so it belongs into a cookie and not into a link.
"""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import ANYONE, Contract, command, query
from archstone.systems.shop.catalog.contract import Product, UnknownProductError
from archstone.systems.shop.values import SKU, Money, Value

__all__ = [
    "MAX_LINES",
    "MAX_QUANTITY",
    "Cart",
    "CartFullError",
    "CartLine",
    "CartName",
    "CartSize",
    "CartUnknownError",
    "Carts",
    "CartsFullError",
    "GuestCart",
    "Merged",
]

MAX_LINES: Final = 50
"""Different products in a cart: as many as an order may have, so that every cart can be ordered whole."""
MAX_QUANTITY: Final = 99
"""Pieces of one product: as many as an order may have."""

GuestCartName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""43 letters, digits, dashes and underscores: 256 bits of chance."""
CartName = Annotated[str, StringConstraints(pattern=r"^(me|[A-Za-z0-9_-]{43})$")]
"""`me`, or the name of a guest's cart."""
Wanted = Annotated[int, Field(ge=0, le=MAX_QUANTITY)]
"""Pieces, in [0, 99]; 0 takes the product out."""
Pieces = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class CartUnknownError(DomainError, code="carts.unknown", status=404):
    """There is no such cart."""

    def __str__(self) -> str:
        return "there is no such cart, or no longer: open one with POST /carts, or sign in to use 'me'"


class CartFullError(DomainError, code="carts.full", status=409):
    """The cart holds as many different products as an order may have."""

    def __init__(self, sku: str) -> None:
        super().__init__(sku)
        self.sku = sku

    def __str__(self) -> str:
        return f"{self.sku} does not fit: a cart holds {MAX_LINES} different products; order these or take one out"


class CartsFullError(DomainError, code="carts.too-many", status=503):
    """There are as many carts of guests as may be."""

    def __str__(self) -> str:
        return "no more carts for guests at the moment: sign in, or try later"


class CartSize(Value):
    """How much is in a cart."""

    lines: Annotated[int, Field(ge=0, le=MAX_LINES)]
    """Different products."""
    pieces: Annotated[int, Field(ge=0)]


class CartLine(Value):
    """So many of one product, as the catalog shows it now."""

    sku: SKU
    quantity: Pieces
    product: Product | None
    """None: it is not for sale any more."""


class Cart(Value):
    """What is in a cart, oldest first, at the prices of this moment."""

    lines: tuple[CartLine, ...]
    pieces: Annotated[int, Field(ge=0)]
    total: Money | None
    """Of what is for sale. None: nothing is, the currencies differ, or it is more than an order may cost."""


class GuestCart(Value):
    """A new, empty cart of a guest."""

    cart: GuestCartName
    """Its name. Kept nowhere else: whoever loses it has lost the cart."""


class Merged(Value):
    """What became of the two carts."""

    lines: Annotated[int, Field(ge=0, le=MAX_LINES)]
    pieces: Annotated[int, Field(ge=0)]
    dropped: tuple[SKU, ...]
    """Products of the guest's cart for which there was no room."""


class Carts(Contract, version="1.0"):
    """Carts of customers and of guests. Every command but `open` may be repeated: it says how things shall be."""

    @command(
        "/carts", public=True, requires=ANYONE, status=201, raises=(CartsFullError,), key_required=False,
        record=False,  # a record would hold the cart's name
    )  # fmt: skip
    async def open(self) -> GuestCart:
        """Open a cart for a guest. It is forgotten 30 days after its last change; an empty one after a day."""
        ...

    @query("/carts/{cart}", public=True, requires=ANYONE, raises=(CartUnknownError,))
    async def cart(self, cart: CartName) -> Cart:
        """Return what is in a cart."""
        ...

    @query("/carts/{cart}/size", public=True, requires=ANYONE, raises=(CartUnknownError,))
    async def size(self, cart: CartName) -> CartSize:
        """Return how much is in a cart."""
        ...

    @command(
        "/carts/{cart}/lines/{sku}", method="PUT", public=True, requires=ANYONE, key_required=False, record=False,
        raises=(CartUnknownError, CartFullError, UnknownProductError),
    )  # fmt: skip
    async def put(self, cart: CartName, sku: SKU, quantity: Wanted) -> CartSize:
        """Have so many pieces of a product in the cart, however many there were; 0 takes it out."""
        ...

    @command(
        "/carts/{cart}/lines", method="DELETE", public=True, requires=ANYONE, status=204, key_required=False,
        record=False, raises=(CartUnknownError,),
    )  # fmt: skip
    async def clear(self, cart: CartName) -> None:
        """Take everything out."""
        ...

    @command("/carts/me/merge", public=True, requires="carts:merge", key_required=False, record=False)
    async def merge(self, guest: GuestCartName) -> Merged:
        """Move what is in a guest's cart into one's own, and forget the guest's.
        Of a product that is in both, the larger quantity stays: who puts the same into two carts means it once. What
        finds no room is dropped and named. Repeating it changes nothing; a cart that is unknown is merged already.
        """  # noqa: D205 - the first paragraph alone is public, so it is all of it
        ...
