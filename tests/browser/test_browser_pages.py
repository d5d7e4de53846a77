"""Every page, wide and on a phone, light and dark: no accessibility fault that matters, nothing sticks out."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from devices import Device, Devices
from tour import buyer_pages, guest_pages

# Rules that axe leaves off by itself: targets that a thumb can hit.
OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
GRAVE = {"serious", "critical"}
LOOKS = [(screen, dark) for screen in ("wide", "phone") for dark in (False, True)]
NAMES = [f"{screen}-{'dark' if dark else 'light'}" for screen, dark in LOOKS]


def grave(device: Device, name: str) -> Iterator[str]:
    """Yield what axe-core finds on the open page that is serious or critical."""
    for rule in Axe().run(device.page, options=OPTIONS).response["violations"]:
        if rule["impact"] in GRAVE:
            nodes = rule["nodes"]
            where = ", ".join(node["target"][0] for node in nodes[:5]) + (", ..." if len(nodes) > 5 else "")
            why = " ".join(nodes[0]["failureSummary"].split())
            yield f"{name}: {rule['id']} ({rule['impact']}), {len(nodes)} times: {where}: {why}"


def too_wide(device: Device, name: str) -> Iterator[str]:
    """Yield the page if it must be scrolled sideways."""
    width, room = device.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    if width > room:
        yield f"{name}: {width} px wide on a screen of {room} px"


@pytest.mark.parametrize(("screen", "dark"), LOOKS, ids=NAMES)
def test_pages_of_a_guest_are_open_to_everybody(device: Devices, screen: str, dark: bool) -> None:
    guest = device(screen, dark=dark, still=True)
    found = [fault for name in guest_pages(guest) for look in (grave, too_wide) for fault in look(guest, name)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("screen", "dark"), LOOKS, ids=NAMES)
def test_pages_of_a_buyer_are_open_to_everybody(device: Devices, screen: str, dark: bool) -> None:
    buyer = device(screen, dark=dark, still=True)
    email = f"tour-{screen}-{dark}@example.org".lower()
    found = [fault for name in buyer_pages(buyer, email) for look in (grave, too_wide) for fault in look(buyer, name)]
    assert not found, "\n".join(found)
