"""Who comes to the shop and what they do: the load model, for benches, surges and demonstrations.

    async for visit in arrivals(Mix(), rate_per_s=50, duration_s=10, skus=skus):
        asyncio.create_task(send(visit))

An open loop: visits arrive at random instants, independent of each other (Poisson), whatever the shop answers. A slow
shop therefore meets more visits at once, as a real one does; a loop that waits for answers would hide that. It only
says what to send; whoever sends it knows how. `load` is what `archstone surge shop` sends.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from archstone import world
from archstone.lab import Http, Kept, Load, Shot
from archstone.resilience import check
from archstone.systems.shop.crowd import API, Buyer, endings_of, shelf, sign_in_all, stock_of

__all__ = ["Kind", "Mix", "Visit", "arrivals", "load", "oversold", "plan"]

Kind = Literal["browse", "search", "product", "checkout"]

_TOKENS: Final = MappingProxyType({"tok_ok": 0.97, "tok_declined": 0.02, "tok_flaky": 0.01})
_WORDS: Final = ("pan", "kettle", "wood", "steel", "lamp", "wool", "book", "ball", "saw", "light", "ink", "oak")
_HOME: Final = MappingProxyType(
    {"name": "Ann Alder", "street": "Mill Lane 1", "city": "Tarn", "postcode": "12345", "country": "DE"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What visitors do. The ratios of what they do sum to one, and so do those of the tokens they pay with."""

    browse_ratio: float = 0.40
    """Visits that look at a page of the shelf."""
    search_ratio: float = 0.20
    """Visits that search for a word."""
    product_ratio: float = 0.30
    """Visits that look at one product."""
    checkout_ratio: float = 0.10
    """Visits that place an order."""
    max_lines: int = 3
    """Products in an order, at most; each number up to it is as likely. In [1, 50]."""
    popularity: float = 0.9
    """Exponent of Zipf's law: 0 is every product alike, 1 is the n-th wanted 1/n as much as the first. In [0, 3]."""
    tokens: Mapping[str, float] = field(default_factory=lambda: _TOKENS)
    """Payment tokens and their ratios."""

    def __post_init__(self) -> None:
        """Check everything at once."""
        ratios = tuple(self.ratios.values())
        check(
            self,
            checkout_ratio=(
                min(ratios) >= 0 and abs(sum(ratios) - 1) < 1e-9,
                "at least 0 like the other three, and they must sum to 1",
            ),
            max_lines=(1 <= self.max_lines <= 50, "in [1, 50]"),
            popularity=(0 <= self.popularity <= 3, "in [0, 3]"),
            tokens=(abs(sum(self.tokens.values()) - 1) < 1e-9, "ratios that sum to 1"),
        )

    @property
    def ratios(self) -> Mapping[Kind, float]:
        """The ratio of each kind of visit."""
        return {
            "browse": self.browse_ratio,
            "search": self.search_ratio,
            "product": self.product_ratio,
            "checkout": self.checkout_ratio,
        }


class Visit(NamedTuple):
    """One request to send."""

    at_s: float
    """When it arrives, seconds from the first instant of the plan."""
    kind: Kind
    method: Literal["GET", "POST"]
    path: str
    """Below `/api/v1`, with the query string."""
    body: Mapping[str, Any] | None
    """JSON object of a POST; it needs a signed-in customer and an Idempotency-Key of its own."""


def plan(mix: Mix, *, rate_per_s: float, duration_s: float, skus: Sequence[str], chance: Random) -> list[Visit]:
    """Return the visits of a span of time, by arrival. The same source of chance gives the same plan.

    Args:
        mix: What visitors do.
        rate_per_s: Visits a second on average. Above 0.
        duration_s: Seconds that the plan covers. At least 0.
        skus: Products, the most wanted first. At least `mix.max_lines`.
        chance: Where the numbers come from.
    """
    wanted = list(accumulate(1 / (rank**mix.popularity) for rank in range(1, len(skus) + 1)))
    visits: list[Visit] = []
    at_s = chance.expovariate(rate_per_s)
    while at_s < duration_s:
        visits.append(_visit(mix, at_s, skus=skus, wanted=wanted, chance=chance))
        at_s += chance.expovariate(rate_per_s)
    return visits


async def arrivals(mix: Mix, *, rate_per_s: float, duration_s: float, skus: Sequence[str]) -> AsyncIterator[Visit]:
    """Yield each visit of a plan when its time has come; late ones at once, none left out."""
    began_s = world.monotonic()
    for visit in plan(mix, rate_per_s=rate_per_s, duration_s=duration_s, skus=skus, chance=world.random()):
        if (wait_s := began_s + visit.at_s - world.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        yield visit


def _visit(mix: Mix, at_s: float, *, skus: Sequence[str], wanted: list[float], chance: Random) -> Visit:
    ratios = mix.ratios
    [kind] = chance.choices(list(ratios), weights=list(ratios.values()))
    if kind == "browse":
        return Visit(at_s, kind, "GET", "/products?limit=20", None)
    if kind == "search":
        return Visit(at_s, kind, "GET", f"/products?search={chance.choice(_WORDS)}", None)
    chosen = chance.choices(skus, cum_weights=wanted, k=chance.randint(1, mix.max_lines))
    if kind == "product":
        return Visit(at_s, kind, "GET", f"/products/{chosen[0]}", None)
    [token] = chance.choices(list(mix.tokens), weights=list(mix.tokens.values()))
    lines = [{"sku": sku, "quantity": chance.randint(1, 3)} for sku in dict.fromkeys(chosen)]
    return Visit(at_s, kind, "POST", "/orders", {"lines": lines, "address": dict(_HOME), "payment_token": token})


SURGE: Final = Mix(browse_ratio=0.5, product_ratio=0.3, search_ratio=0.1, checkout_ratio=0.1)
"""Browsing 80, searching 10, checking out 10 per cent. Looking at a product is browsing."""
_PER_BUYER_PER_S: Final = 10.0
"""Requests a second of one buyer, a fifth of what the shop lets one person do."""
_BUYERS: Final = (20, 1000)
"""At least, and at most."""


class ShopLoad:
    """The crowd that a surge sends: everybody signed in, so that the limit of one address is not what is measured."""

    never = ("oversold",)

    def __init__(self, mix: Mix = SURGE) -> None:
        self._mix = mix
        self._run = ""
        self._buyers: Sequence[Buyer] = ()
        self._skus: Sequence[str] = ()
        self._before: Mapping[str, int] = {}

    async def prepare(self, http: Http, *, rate_per_s: float, tell: Callable[[str], None]) -> Sequence[bytes]:
        """Register and sign in as many buyers as the rate needs; note what is in stock."""
        least, most = _BUYERS
        count = max(least, min(most, int(rate_per_s / _PER_BUYER_PER_S)))
        tell(f"signing in {count} buyers")
        self._run = world.new_id()
        self._buyers = await sign_in_all(http, count)
        self._skus = await shelf(http)
        self._before = await stock_of(http, self._skus, self._buyers)
        tell(f"{len(self._skus)} products, {sum(self._before.values())} pieces in stock")
        return [buyer.headers for buyer in self._buyers]

    def shots(self, *, rate_per_s: float, duration_s: float, chance: Random) -> list[Shot]:
        """Return the visits of a phase as requests, each by some buyer."""
        visits = plan(self._mix, rate_per_s=rate_per_s, duration_s=duration_s, skus=self._skus, chance=chance)
        run = f"{self._run}-{chance.getrandbits(32):x}"
        return [self._shot(visit, f"{run}-{number}", chance) for number, visit in enumerate(visits)]

    def _shot(self, visit: Visit, key: str, chance: Random) -> Shot:
        sender = chance.randrange(len(self._buyers))
        kind = "browse" if visit.kind == "product" else visit.kind
        head = f"{visit.method} {API}{visit.path} HTTP/1.1\r\n"
        if visit.body is None:
            return Shot(visit.at_s, kind, head.encode(), sender)
        pieces = {line["sku"]: line["quantity"] for line in visit.body["lines"]}
        body = json.dumps(visit.body).encode()
        return Shot(visit.at_s, kind, f"{head}Idempotency-Key: {key}\r\n".encode(), sender, body, (sender, pieces))

    async def settle(self, http: Http, kept: Sequence[Kept]) -> Mapping[str, Any]:
        """Say how the accepted orders have ended, and whether more was sold than left the stock.

        `oversold` is the number of pieces that were sold to this crowd and did not leave the stock; None if somebody
        has restocked meanwhile. If others buy at the same time, it may be too low.
        """
        placed: dict[str, tuple[int, dict[str, int]]] = {str(json.loads(body)["id"]): note for note, body in kept}
        orders = {order_id: self._buyers[sender] for order_id, (sender, _) in placed.items()}
        endings = await endings_of(http, orders)
        sold: dict[str, int] = {}
        for order_id, (_, pieces) in placed.items():
            if endings.get(order_id) == "confirmed":
                for sku, quantity in pieces.items():
                    sold[sku] = sold.get(sku, 0) + quantity
        after = await stock_of(http, self._skus, self._buyers)
        left = {sku: before - after[sku] for sku, before in self._before.items()}
        told = list(endings.values())
        return {
            "oversold": oversold(sold, left),
            "accepted": len(placed),
            **{status: told.count(status) for status in ("confirmed", "cancelled", "pending")},
            "lost": len(placed) - len(endings),
            "pieces_sold": sum(sold.values()),
        }


def oversold(sold: Mapping[str, int], left: Mapping[str, int]) -> int | None:
    """Return how many pieces were sold that did not leave the stock; None if some stock has grown.

    Args:
        sold: Pieces in confirmed orders, by product.
        left: Pieces by which the stock has become less, by product.
    """
    if any(pieces < 0 for pieces in left.values()):
        return None
    return sum(max(0, pieces - left.get(sku, 0)) for sku, pieces in sold.items())


load: Final[Load] = ShopLoad()
