"""Makes the pictures of the shop: `make pictures`.

    python docs/pictures.py               the few that the documents show, and the moving one, into docs/images
    python docs/pictures.py --all FOLDER  every page, wide and on a phone, light and dark, to be looked at
    python docs/pictures.py --surge PAGE  the plots of a surge, from the page that `archstone surge` wrote
    python docs/pictures.py --exchange    somebody trades at the exchange, after two minutes of its bots
    python docs/pictures.py --herd PAGE   a scene of a herd, from the page that `archstone lab herd --out PAGE` wrote

It drives a shop of its own in a temporary folder, with the people of the browser tests, so that a picture shows what
is tested. Needs Debian's chromium.
"""

import argparse
import functools
import io
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from devices import SCREENS, Device, Devices, chromium, executable, open_shop, started
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Locator, ViewportSize, expect
from shop_process import ShopProcess
from tour import CONFIRMED, admin_pages, buyer_pages, guest_pages, opened_panel
from trouble import ADMIN, troubled

from archstone.observability import configure_logging

HERE: Final = Path(__file__).parent / "images"
SHOWN: Final = {
    ("home", "wide", False), ("home", "wide", True), ("home", "phone", False), ("product", "phone", True),
    ("checkout", "wide", False), ("order-declined", "phone", False),
    ("cart", "phone", False), ("panel", "wide", False), ("admin-figures", "wide", True),
    ("admin-orders-one", "wide", False),
}  # fmt: skip
"""Page, screen and whether dark, of the pictures that the documents show."""
LOOKS: Final = [(screen, dark) for screen in SCREENS for dark in (False, True)]
FILM: Final = "buy-kill-finish.webp"
FILM_BYTES: Final = 1_500_000
FILM_SIZE: Final = {"width": 1200, "height": 780}
CAPTION_PX: Final = 44
SETTLE_MS: Final = 250
"""For pictures that come into sight only when the screen grows."""
TRADED_MS: Final = 120_000
"""For bots to have traded, before the exchange is shown."""
MOST_S: Final = 30.0
"""Longest wait for what a scene is about."""


def saved(shot: bytes, path: Path) -> None:
    """Write a screenshot as WebP."""
    Image.open(io.BytesIO(shot)).convert("RGB").save(path, quality=82, method=6)
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")


def tours(devices: Devices, *, sharp: bool) -> Iterator[tuple[str, str, bool, Device]]:
    """Yield every page while it is open: its name, the screen, whether dark, and the device.

    `sharp`: a phone's picture has two pixels for each of the page, as a phone has.
    """
    for screen, dark in LOOKS:
        buyer = functools.partial(buyer_pages, email=f"{screen}-{dark}@example.org".lower())
        for pages in (guest_pages, buyer, functools.partial(admin_pages, email=ADMIN)):
            device = devices(screen, dark=dark, still=True, device_scale_factor=2 if sharp and screen == "phone" else 1)
            for name in pages(device):
                yield name, screen, dark, device


def screenshots(devices: Devices, folder: Path, *, every: bool) -> None:
    """Write the pictures of pages; of all of them the whole page, else what is seen first."""
    for name, screen, dark, device in tours(devices, sharp=not every):
        if every or (name, screen, dark) in SHOWN:
            path = folder / f"{name}-{screen}-{'dark' if dark else 'light'}.webp"
            saved(whole(device, SCREENS[screen]["viewport"]) if every else device.page.screenshot(), path)


def whole(device: Device, screen: ViewportSize) -> bytes:
    """Return a picture of all of the open page, as on a screen that is high enough for it."""
    height = int(device.page.evaluate("document.documentElement.scrollHeight"))
    device.page.set_viewport_size({"width": screen["width"], "height": max(height, screen["height"])})
    device.page.wait_for_timeout(SETTLE_MS)
    shot = device.page.screenshot()
    device.page.set_viewport_size(screen)
    return shot


@dataclass
class Film:
    """Frames of one window with a line of text below, each as long as it is to be seen."""

    device: Device
    frames: list[tuple[Image.Image, int]] = field(default_factory=list)
    text: str = ""
    grave: bool = False

    def say(self, text: str, *, grave: bool = False) -> None:
        """Set the line below from now on."""
        self.text, self.grave = text, grave

    def shoot(self, hold_ms: int, *, pointing_at: Locator | None = None) -> None:
        """Add what is seen now."""
        shot = Image.open(io.BytesIO(self.device.page.screenshot())).convert("RGB")
        frame = Image.new("RGB", (shot.width, shot.height + CAPTION_PX), "#7f1d1d" if self.grave else "#111827")
        frame.paste(shot)
        pen = ImageDraw.Draw(frame)
        if pointing_at is not None and (box := pointing_at.bounding_box()) is not None:
            pointer(pen, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        middle = (18, shot.height + CAPTION_PX // 2)
        pen.text(middle, self.text, fill="#f9fafb", anchor="lm", font=ImageFont.load_default(20))
        if self.frames and self.frames[-1][0].tobytes() == frame.tobytes():
            before = self.frames.pop()[1]
            self.frames.append((frame, before + hold_ms))
        else:
            self.frames.append((frame, hold_ms))

    def press(self, button: Locator) -> None:
        """Show the pointer on it, and press it."""
        button.scroll_into_view_if_needed()
        self.shoot(700, pointing_at=button)
        button.click()

    def follow(self, there: Locator) -> None:
        """Film what happens, as fast as it happens, until something is to be seen."""
        end = time.perf_counter() + MOST_S
        while not there.is_visible():
            assert time.perf_counter() < end, f"{there} is not there after {MOST_S} s"
            before = time.perf_counter()
            self.device.page.wait_for_timeout(80)
            self.shoot(max(20, round((time.perf_counter() - before) * 1000)))

    def save(self, path: Path) -> None:
        """Write the film; it must not be too large for a page."""
        pictures, holds = zip(*self.frames, strict=True)
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=holds, loop=0, quality=70, method=6)
        print(f"{path.name}: {path.stat().st_size // 1024} KiB, {len(holds)} frames, {sum(holds) / 1000:.1f} s")
        assert path.stat().st_size < FILM_BYTES, f"{path.name} has more than {FILM_BYTES} bytes"


def pointer(pen: ImageDraw.ImageDraw, x: float, y: float) -> None:
    """Draw an arrow whose tip is there."""
    shape = [(0, 0), (0, 22), (5, 17), (9, 26), (13, 24), (9, 16), (16, 16)]
    pen.polygon([(x + dx, y + dy) for dx, dy in shape], fill="white", outline="black", width=2)


def buying(film: Film) -> None:
    """From the front page to an order that waits for its bank."""
    page = film.device.page
    film.say("archstone up shop: one process, nothing else to install")
    film.device.open("/")
    film.shoot(900)
    film.press(page.locator("main ul.products a").first)
    page.wait_for_url(re.compile("/p/"))
    film.say("A stranger buys something")
    film.press(page.get_by_role("button", name=re.compile("Put in cart|Change cart")))
    page.wait_for_url(re.compile("/cart"))
    film.press(page.get_by_role("link", name="Go to the checkout"))
    page.wait_for_url(re.compile("/checkout"))
    film.device.fill_in("tok_timeout")
    film.say("The bank will be slow")
    film.press(page.get_by_role("button", name=re.compile("Place the order")))
    page.wait_for_url(re.compile("/orders/"))
    expect(film.device.main.get_by_text("We are working on your order.")).to_be_visible()
    film.shoot(900)


def killing(film: Film) -> None:
    """The shop dies in the middle, starts again, and finishes."""
    page, main = film.device.page, film.device.main
    panel = opened_panel(film.device)
    film.say("Behind the counter: what happens inside, live")
    film.shoot(1200)
    film.say("kill -9, in the middle of the payment", grave=True)
    film.press(panel.get_by_role("button", name="Kill the process"))
    film.follow(page.get_by_text("The shop is gone."))
    film.follow(page.get_by_text("The shop is back after"))
    film.say("Started again: the order goes on where it was")
    film.follow(main.get_by_text(CONFIRMED).first)
    film.follow(panel.locator("[data-now=done]"))
    film.say("Finished. Charged once, nothing lost, nothing twice")
    film.shoot(3000)


def filmed(devices: Devices, path: Path) -> None:
    """Make the film."""
    device = devices("wide", still=True, viewport=FILM_SIZE)
    device.excuse("ERR_")
    device.register("film@example.org", "Ann Alder")
    film = Film(device)
    buying(film)
    killing(film)
    film.save(path)


def draw(devices: Devices, folder: Path, *, every: bool, only_film: bool) -> None:
    """Make the pictures, and say what was wrong with the pages meanwhile."""
    if not only_film:
        screenshots(devices, folder, every=every)
    if not every:
        filmed(devices, folder / FILM)
    for fault in devices.close():
        print(f"a fault of a page: {fault}")


def surge(page_path: Path) -> None:
    """Make the picture of a surge, figures and plots, without its table."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        page.goto(page_path.resolve().as_uri())
        page.add_style_tag(content="table, table ~ * { display: none }")
        saved(page.screenshot(full_page=True), HERE / "surge.webp")


def herd(page_path: Path) -> None:
    """Make the picture of a herd: one of its scenes."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        page.goto(page_path.resolve().as_uri())
        saved(page.locator("section").nth(1).screenshot(), HERE / "herd.webp")


def exchange() -> None:
    """Make the picture of the exchange: the bots trade for a while, and somebody beside them."""
    with tempfile.TemporaryDirectory() as parent, chromium() as browser:
        running = ShopProcess(Path(parent) / "exchange", system="exchange")
        try:
            started(running)
            page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="dark")
            page.goto(running.url)
            page.get_by_role("button", name="Trade with play money at once").click()
            for price in ("99.90", "99.85", "100.20"):
                page.get_by_label("Limit price").fill(price)
                page.get_by_role("button", name="Buy ACME").click()
                page.wait_for_timeout(TRADED_MS / 3)
            saved(page.screenshot(), HERE / "exchange-wide-dark.webp")
        finally:
            running.kill()


def main() -> None:
    """Make what was asked for."""
    parser = argparse.ArgumentParser(description="Makes the pictures of the shop.")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, into this folder")
    parser.add_argument("--surge", type=Path, metavar="PAGE", help="only the plots of a surge, from its page")
    parser.add_argument("--herd", type=Path, metavar="PAGE", help="only a scene of a herd, from its page")
    parser.add_argument("--exchange", action="store_true", help="only the exchange")
    parser.add_argument("--film", action="store_true", help="only the moving picture")
    asked = parser.parse_args()
    if executable() is None:
        parser.error("no browser: install Debian's chromium, or say in ARCHSTONE_CHROMIUM where one is")
    if asked.surge is not None:
        surge(asked.surge)
        return
    if asked.herd is not None:
        herd(asked.herd)
        return
    if asked.exchange:
        exchange()
        return
    folder: Path = asked.all or HERE
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as parent, chromium() as browser:
        data = Path(parent) / "shop"
        configure_logging("critical")  # the trouble is on purpose
        troubled(data)
        with open_shop(data, chaos=True) as shop:
            if shop.command("admin", "shop", ADMIN).returncode:
                parser.exit(1, "nobody could be made an administrator\n")
            draw(Devices(browser, shop.url), folder, every=asked.all is not None, only_film=asked.film)


if __name__ == "__main__":
    main()
