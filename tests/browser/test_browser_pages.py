"""Every page, wide and on a phone, light and dark: no accessibility fault that matters, nothing sticks out."""

from itertools import chain

import pytest
from devices import SCREENS, Devices
from faults_of_pages import faults_of
from tour import buyer_pages, guest_pages


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_of_a_guest_are_open_to_everybody(device: Devices, screen: str) -> None:
    guest = device(screen, still=True)
    found = list(chain.from_iterable(faults_of(guest, name) for name in guest_pages(guest)))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_of_a_buyer_are_open_to_everybody(device: Devices, screen: str) -> None:
    buyer = device(screen, still=True)
    email = f"tour-{screen}@example.org"
    found = list(chain.from_iterable(faults_of(buyer, name) for name in buyer_pages(buyer, email)))
    assert not found, "\n".join(found)
