"""The page of rules names every refusal that the contracts declare, and none that is not theirs."""

import re
from pathlib import Path
from typing import Final

import pytest

from archstone.services import System
from archstone.systems.exchange.system import exchange
from archstone.systems.shop.system import shop

PAGE: Final = (Path(__file__).parents[2] / "docs" / "security" / "rules.md").read_text(encoding="utf-8")


def declared(system: System) -> set[str]:
    return {error.code for each in system.operations if each.public for error in each.raises}


def told(heading: str, text: str = PAGE) -> set[str]:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    return set(re.findall(r"`([a-z]+\.[a-z-]+)`", section[1]))


@pytest.mark.parametrize(("heading", "system"), [("The shop", shop), ("The exchange", exchange)])
def test_every_declared_refusal_is_a_rule_on_the_page(heading: str, system: System) -> None:
    assert len(declared(system)) > 15
    assert told(heading) == declared(system)


def test_a_rule_that_was_left_out_would_be_noticed() -> None:
    assert told("The shop", PAGE.replace("`orders.refund-too-much`", "")) != declared(shop)
