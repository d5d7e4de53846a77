"""People in front of real browsers: Debian's chromium, driven by Playwright.

A device is a browser profile of its own with one window. It listens all the time: an error in the console, a script
that fails, a page that breaks off, a request that leaves the machine, or a page without a strict
Content-Security-Policy is a fault of the test that it happens in.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)
from shop_process import ShopProcess

T = TypeVar("T")

PASSWORD: Final = "a quiet evening"
WAIT_MS: Final = 15_000
"""For a condition to come true, on a machine that is busy."""
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage",
)  # fmt: skip
SCREENS: Final[dict[str, dict[str, Any]]] = {
    "wide": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


def executable() -> str | None:
    """Return where chromium is; None: it is not installed. The environment's ARCHSTONE_CHROMIUM goes first."""
    return os.environ.get("ARCHSTONE_CHROMIUM") or shutil.which("chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser for the block, without a window."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS), headless=True)
        try:
            yield browser
        finally:
            browser.close()


def aside(work: Callable[[], T]) -> T:
    """Do what needs a loop of its own, in another thread: in this one Playwright's loop runs."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(work).result()


def started(shop: ShopProcess) -> None:
    """Start a shop and return when it is ready."""
    aside(lambda: asyncio.run(shop.start()))


class ShopOfChaos(ShopProcess):
    """A shop that may be killed from its pages."""

    def spawn(self, **environment: str) -> Self:
        words = ["up", "shop", "--chaos", "--port", str(self.port), "--data", str(self.data)]
        words += [f"--set={name}={value}" for name, value in self.options.items()]
        settings = {f"ARCHSTONE_{name}": value for name, value in self.settings.items()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "archstone.cli", *words],
                env={**os.environ, **settings, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return self


@contextmanager
def open_shop(data: Path, *, chaos: bool = False, **options: str) -> Iterator[ShopProcess]:
    """Run the shop for the block, and let it end in peace. `chaos`: it starts again by itself whenever killed."""
    kind = ShopOfChaos if chaos else ShopProcess
    shop = kind(data, options=options, settings={"RATE_LIMIT_PER_S": "100000"})
    try:
        started(shop)
        yield shop
        assert shop.stop() == 0, shop.log_tail()
    finally:
        shop.kill()


@dataclass
class Device:
    """One browser profile with one window, and what went wrong in it."""

    page: Page
    faults: list[str] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)
    """Patterns of console messages that this test provokes."""

    def excuse(self, pattern: str) -> None:
        """Expect that the console may say this from now on."""
        self.excused.append(pattern)

    def listen(self) -> "Device":
        """Take note of every fault from now on."""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"a script failed: {error}"))
        self.page.on("request", self._asked)
        self.page.on("response", self._answered)
        return self

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        text = f"{message.text} ({message.location.get('url')})"
        if not any(re.search(pattern, text) for pattern in self.excused):
            self.faults.append(f"console {message.type}: {text}")

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in {"data", "blob"} and url.hostname not in LOOPBACK:
            self.faults.append(f"a request left the machine: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.request.resource_type != "document" or 300 <= response.status < 400:
            return
        policy = response.headers.get("content-security-policy", "")
        if "default-src 'none'" not in policy or "unsafe" in policy:
            self.faults.append(f"no strict policy at {response.url}: {policy!r}")

    @property
    def main(self) -> Locator:
        """The page without its head, its foot and the panel behind the counter."""
        return self.page.get_by_role("main")

    def open(self, path: str) -> None:
        """Go to a page and wait until it is there."""
        self.page.goto(path, wait_until="load")

    def click(self, name: str, role: Any = "button") -> None:
        """Press the one button, or link, of this name."""
        self.page.get_by_role(role, name=name, exact=True).click()

    def register(self, email: str, name: str = "Ann Alder") -> None:
        """Make an account and stay signed in."""
        self.open("/register")
        self.main.get_by_label("Name", exact=True).fill(name)
        self.main.get_by_label("E-mail address").fill(email)
        self.main.get_by_label("Password").fill(PASSWORD)
        self.click("Make the account")
        expect(self.page.locator("form[action='/logout']")).to_be_attached()

    def sign_in(self, email: str) -> None:
        """Sign in from where the sign-in page is, or from there."""
        if urlsplit(self.page.url).path != "/login":
            self.open("/login")
        self.main.get_by_label("E-mail address").fill(email)
        self.main.get_by_label("Password").fill(PASSWORD)
        self.main.get_by_role("button", name="Sign in").click()
        expect(self.page.locator("form[action='/logout']")).to_be_attached()

    def put(self, sku: str, pieces: int = 1) -> None:
        """Put a product in the cart from its own page."""
        self.open(f"/p/{sku}")
        self.main.get_by_label("Pieces", exact=True).fill(str(pieces))
        self.click("Put in cart")
        expect(self.page).to_have_url(re.compile(r"/cart\b"))

    def fill_in(self, card: str) -> None:
        """Fill in the checkout as it stands open; `card` is the token of a test card."""
        for label, text in (("Name", "Ann Alder"), ("Street", "Mill Lane 1"), ("Postcode", "12345"), ("Town", "Tarn")):
            self.main.get_by_label(label).first.fill(text)
        self.main.get_by_label("Country").select_option("DE")
        self.main.locator(f"label[for={card}]").click()

    def order(self, card: str = "tok_ok") -> str:
        """Check out what is in the cart and return the path of the order's page, which is open then."""
        self.open("/checkout")
        self.fill_in(card)
        self.page.get_by_role("button", name=re.compile("Place the order")).click()
        expect(self.page).to_have_url(re.compile("/orders/[0-9a-f]{32}"))
        return urlsplit(self.page.url).path


@dataclass
class Devices:
    """Makes devices that look at one shop; at the end asks each of them for faults."""

    browser: Browser
    url: str
    made: list[Device] = field(default_factory=list)

    def __call__(self, screen: str = "wide", *, dark: bool = False, still: bool = False, **options: Any) -> Device:
        """Return a new device.

        Args:
            screen: `wide` or `phone`.
            dark: Whether its owner likes it dark.
            still: Whether its owner wants nothing to move.
            options: More for Playwright's `new_context`.
        """
        scheme = "dark" if dark else "light"
        motion = "reduce" if still else "no-preference"
        context = self.browser.new_context(
            base_url=self.url, locale="en-GB", timezone_id="UTC", color_scheme=scheme, reduced_motion=motion,
            **{**SCREENS[screen], **options},
        )  # fmt: skip
        context.set_default_timeout(WAIT_MS)
        device = Device(context.new_page()).listen()
        self.made.append(device)
        return device

    def close(self) -> list[str]:
        """Close them all and return their faults, each once."""
        for device in self.made:
            ended(device.page.context.close)
        return list(dict.fromkeys(fault for device in self.made for fault in device.faults))


def ended(close: Callable[[], None]) -> None:
    """Close what may be closed already."""
    with suppress(Error):
        close()
