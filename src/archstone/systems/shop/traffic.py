"""Who comes to the shop and what they do: the load model, for benches, surges and demonstrations.

    async for visit in arrivals(Mix(), rate_per_s=50, duration_s=10, skus=skus):
        asyncio.create_task(send(visit))

An open loop: visits arrive at random instants, independent of each other (Poisson), whatever the shop answers. A slow
shop therefore meets more visits at once, as a real one does; a loop that waits for answers would hide that. It only
says what to send; whoever sends it knows how.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from archstone import world
from archstone.resilience import check

__all__ = ["Kind", "Mix", "Visit", "arrivals", "plan"]

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
