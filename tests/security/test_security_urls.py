"""No address of a public operation holds what servers, proxies and browsers should not write down."""

import re
from typing import Any, Final

import pytest

from archstone.services import Contract, System, command, operations, query
from archstone.systems.exchange.system import exchange
from archstone.systems.shop.system import shop

SENSITIVE: Final = re.compile(
    r"e_?mail|pass(word|phrase)|token|ticket|secret|(^|_)code|api_?key|(^|_)(name|street|city|postcode|phone|card|iban)$"
)
ALLOWED: Final = {("Carts", "cart")}
"""A guest's cart is named by chance that only its browser knows, and holds nothing but products and quantities."""


def told(promised: list[Any]) -> list[str]:
    """Return what stands in a path or a query string, and should not."""
    return [
        f"{each.full_name}: {one.name}"
        for each in promised
        for one in each.parameters
        if one.where != "body" and SENSITIVE.search(one.name) and (each.contract.__name__, one.name) not in ALLOWED
    ]


@pytest.mark.parametrize("system", [shop, exchange], ids=lambda system: system.name)
def test_nothing_sensitive_is_in_an_address(system: System) -> None:
    promised = [each for each in system.operations if each.public]
    assert sum(len(each.parameters) for each in promised) > 40
    assert told(promised) == []


def test_it_would_be_noticed() -> None:
    class Leaky(Contract, version="1.0"):
        @command("/roles/{role}/{email}", method="DELETE", public=True, requires="roles:write")
        async def withdraw(self, role: str, email: str) -> None: ...

        @query("/reset", public=True, requires="any")
        async def reset(self, ticket: str) -> str: ...

    assert told([*operations(Leaky)]) == ["Leaky.withdraw: email", "Leaky.reset: ticket"]
