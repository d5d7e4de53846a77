"""Second factors in a real browser: its own virtual authenticator holds the passkey, and the pages can be read."""

import base64
import re
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from devices import PASSWORD, SCREENS, Device, Devices
from faults_of_pages import faults_of
from playwright.sync_api import Browser, CDPSession, expect
from shop_process import ShopProcess

from archstone.security import Totp

TOTP = Totp("Archstone Shop")


@pytest.fixture
def at_home(browser: Browser, shop: ShopProcess) -> Iterator[Devices]:
    """Return what makes devices that know the shop by a name: passkeys belong to one, not to an address."""
    devices = Devices(browser, f"http://localhost:{urlsplit(shop.url).port}")
    yield devices
    faults = devices.close()
    assert not faults, "\n".join(faults)


def with_authenticator(device: Device, *, verifies: bool = True) -> tuple[CDPSession, str]:
    """Give a device an authenticator of its own, whose owner puts a finger on it (`verifies`), or only taps it."""
    session = device.page.context.new_cdp_session(device.page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": verifies, "automaticPresenceSimulation": True,
    }  # fmt: skip
    return session, str(session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"])


def signed_out(device: Device) -> None:
    device.open("/account")
    device.main.get_by_role("button", name="Sign out here").click()
    expect(device.page.get_by_text("You are signed out.")).to_be_visible()


def the_code(device: Device) -> str:
    secret = str(device.main.locator("code.secret").text_content())
    return TOTP.code(base64.b32decode(secret.replace(" ", "")))


def test_a_passkey_is_made_and_signs_in_without_a_word_typed(at_home: Devices) -> None:
    ann = at_home()
    session, authenticator = with_authenticator(ann)
    ann.register("passkey@example.org")
    ann.open("/account/security")
    ann.click("Add a passkey", role="link")
    ann.main.get_by_label("Name").fill("Ann's telephone")
    ann.click("Make a passkey")
    expect(ann.main.get_by_text("Your passkey is ready.")).to_be_visible()
    expect(ann.main.get_by_text("Ann's telephone")).to_be_visible()
    [kept] = session.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    assert (kept["rpId"], kept["isResidentCredential"]) == ("localhost", True)

    ann.open("/account/security/passkey")  # the same device makes no second one
    ann.click("Make a passkey")
    expect(ann.main.get_by_text("has a passkey for your account already")).to_be_visible()

    signed_out(ann)
    ann.open("/login?next=/orders")
    ann.click("Sign in with a passkey", role="link")
    ann.click("Use a passkey")
    expect(ann.page).to_have_url(re.compile("/orders$"))

    ann.open("/account/security")
    ann.main.locator(".entry").filter(has_text="Ann's telephone").get_by_role("button", name="Remove").click()
    expect(ann.main.get_by_text("The passkey is removed")).to_be_visible()
    signed_out(ann)
    ann.excuse("status of 422")
    ann.open("/login/passkey")
    ann.click("Use a passkey")
    expect(ann.main.get_by_role("alert")).to_have_text(re.compile("was not accepted"))


def test_a_device_that_does_not_verify_its_owner_signs_nobody_in(at_home: Devices) -> None:
    ann = at_home()
    session, authenticator = with_authenticator(ann)
    ann.register("unverified@example.org")
    ann.open("/account/security/passkey")
    ann.click("Make a passkey")
    expect(ann.main.get_by_text("Your passkey is ready.")).to_be_visible()
    signed_out(ann)
    session.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
    ann.open("/login/passkey")
    ann.click("Use a passkey")
    expect(
        ann.main.get_by_text("The device has not answered, was told not to, or has no passkey of this shop.")
    ).to_be_visible()


def test_an_app_is_set_up_and_its_code_signs_in(at_home: Devices) -> None:
    ann = at_home()
    ann.register("app@example.org")
    ann.open("/account/security")
    ann.click("Set up an app", role="link")
    expect(ann.main.get_by_role("img", name="Picture to scan").locator("svg")).to_be_visible()
    ann.main.get_by_label("The six digits that it shows").fill(the_code(ann))
    ann.click("Use this app")
    codes = ann.main.locator(".codes code")
    expect(codes).to_have_count(10)
    backup = str(codes.first.text_content())
    signed_out(ann)
    ann.open("/login")
    ann.main.get_by_label("E-mail address").fill("app@example.org")
    ann.main.get_by_label("Password").fill(PASSWORD)
    ann.main.get_by_role("button", name="Sign in").click()
    expect(ann.main.get_by_role("heading", name="One more step")).to_be_visible()
    ann.main.get_by_label("Code").fill(backup)
    ann.main.get_by_role("button", name="Sign in").click()
    expect(ann.page.locator("form[action='/logout']")).to_be_attached()


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_of_second_factors_are_open_to_everybody(at_home: Devices, screen: str) -> None:
    ann = at_home(screen, still=True)
    ann.excuse("status of 422")
    found: list[str] = []
    for path in (
        "/login",
        "/login/passkey",
        "/forgot",
        "/reset?ticket=x",
        "/email-change?ticket=x",
        "/email-undo?ticket=x",
        "/sign-up?ticket=x",
    ):
        ann.open(path)
        found += faults_of(ann, path)
    ann.register(f"open-{screen}-{time.monotonic_ns()}@example.org")
    for path in (
        "/account/security",
        "/account/security/app",
        "/account/security/passkey",
        "/account/prove",
        "/account/email",
    ):
        ann.open(path)
        found += faults_of(ann, path)
    ann.open("/account/security/app")
    ann.main.get_by_label("The six digits that it shows").fill("000000")
    ann.click("Use this app")
    found += faults_of(ann, "a wrong code")
    ann.main.get_by_label("The six digits that it shows").fill(the_code(ann))
    ann.click("Use this app")
    found += faults_of(ann, "the backup codes")
    ann.open("/account/security")
    found += faults_of(ann, "security with an app")
    assert not found, "\n".join(found)
