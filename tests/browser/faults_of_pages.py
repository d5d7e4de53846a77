"""What may be wrong with a page that stands open: for those who do not see it, and on a narrow screen."""

from collections.abc import Iterator
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from devices import Device

# Rules that axe leaves off by itself: targets that a thumb can hit.
_OPTIONS: Final = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
# What else is in a page is the same in the dark.
_COLOURS: Final = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
_GRAVE: Final = {"serious", "critical"}
_MOST: Final = 5


def faults_of(device: Device, name: str) -> Iterator[str]:
    """Yield a line for each fault of the open page, in the light and in the dark."""
    yield from _too_wide(device, name)
    yield from _grave(device, name, _OPTIONS)
    device.page.emulate_media(color_scheme="dark")
    yield from _grave(device, f"{name} in the dark", _COLOURS)
    device.page.emulate_media(color_scheme="light")


def _grave(device: Device, name: str, options: dict[str, Any]) -> Iterator[str]:
    """Yield what axe-core finds that is serious or critical."""
    for rule in Axe().run(device.page, options=options).response["violations"]:
        if rule["impact"] in _GRAVE:
            nodes = rule["nodes"]
            where = ", ".join(node["target"][0] for node in nodes[:_MOST]) + (", ..." if len(nodes) > _MOST else "")
            why = " ".join(nodes[0]["failureSummary"].split())
            yield f"{name}: {rule['id']} ({rule['impact']}), {len(nodes)} times: {where}: {why}"


def _too_wide(device: Device, name: str) -> Iterator[str]:
    """Yield the page if it must be scrolled sideways."""
    width, room = device.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    if width > min(room, device.page.viewport_size["width"]):
        yield f"{name}: {width} px wide on a screen of {room} px"
