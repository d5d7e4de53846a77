"""Makes the pictures of the shop: `make pictures`.

    python docs/pictures.py               the few that the documents show, and the moving one, into docs/images
    python docs/pictures.py --all FOLDER  every page, wide and on a phone, light and dark, to be looked at

It drives a shop of its own in a temporary folder, with the people of the browser tests, so that a picture shows what
is tested. Needs Debian's chromium.
"""

import argparse
import io
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from devices import SCREENS, Device, Devices, chromium, executable, open_shop, started
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Locator, expect
from shop_process import ShopProcess
from tour import CONFIRMED, SKU, buyer_pages, guest_pages

HERE: Final = Path(__file__).parent / "images"
SHOWN: Final = {
    ("home", "wide", False), ("home", "wide", True), ("home", "phone", False), ("product", "phone", True),
    ("checkout", "wide", False), ("order-confirmed", "wide", False), ("order-declined", "phone", False),
    ("cart", "phone", False),
}  # fmt: skip
"""Page, screen and whether dark, of the pictures that the documents show."""
LOOKS: Final = [(screen, dark) for screen in SCREENS for dark in (False, True)]
FILM: Final = "buy-kill-finish.webp"
FILM_BYTES: Final = 1_500_000
FILM_SIZE: Final = {"width": 960, "height": 600}
CAPTION_PX: Final = 44
MOST_S: Final = 30.0
"""Longest wait for what a scene is about."""


def saved(shot: bytes, path: Path) -> None:
    """Write a screenshot as WebP."""
    Image.open(io.BytesIO(shot)).convert("RGB").save(path, quality=82, method=6)
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")


def tours(devices: Devices) -> Iterator[tuple[str, str, bool, Device]]:
    """Yield every page while it is open: its name, the screen, whether dark, and the device."""
    for screen, dark in LOOKS:
        email = f"{screen}-{dark}@example.org".lower()
        for pages in (guest_pages, lambda device, email=email: buyer_pages(device, email)):
            device = devices(screen, dark=dark, still=True, device_scale_factor=2 if screen == "phone" else 1)
            for name in pages(device):
                yield name, screen, dark, device


def screenshots(devices: Devices, folder: Path, *, every: bool) -> None:
    """Write the pictures of pages; of all of them the whole page, else what is seen first."""
    for name, screen, dark, device in tours(devices):
        if every or (name, screen, dark) in SHOWN:
            device.page.wait_for_load_state("networkidle" if not name.startswith("order-") else "load")
            path = folder / f"{name}-{screen}-{'dark' if dark else 'light'}.webp"
            saved(device.page.screenshot(full_page=every), path)


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
    film.press(page.locator(f"main a[href='/p/{SKU}']").first)
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


def killing(film: Film, kill: Callable[[], None], start: Callable[[], None]) -> None:
    """The shop dies in the middle, starts again, and finishes."""
    film.say("kill -9, in the middle of the payment", grave=True)
    film.shoot(900)
    kill()
    film.follow(film.device.main.get_by_text("The connection is gone."))
    film.shoot(1500)
    film.say("Started again: the order goes on where it was")
    start()
    film.follow(film.device.main.get_by_text(CONFIRMED).first)
    film.say("Finished. Charged once, reserved once, nothing lost")
    film.shoot(2600)


def filmed(devices: Devices, shop: ShopProcess, path: Path) -> None:
    """Make the film."""
    device = devices("wide", still=True, viewport=FILM_SIZE)
    device.excuse("ERR_")
    device.register("film@example.org", "Ann Alder")
    film = Film(device)
    buying(film)
    killing(film, shop.kill, lambda: started(shop))
    film.save(path)


def main() -> None:
    """Make what was asked for."""
    parser = argparse.ArgumentParser(description="Makes the pictures of the shop.")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, into this folder")
    parser.add_argument("--film", action="store_true", help="only the moving picture")
    asked = parser.parse_args()
    if executable() is None:
        parser.error("no browser: install Debian's chromium, or say in ARCHSTONE_CHROMIUM where one is")
    folder: Path = asked.all or HERE
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, chromium() as browser, open_shop(Path(data) / "shop") as shop:
        devices = Devices(browser, shop.url)
        if not asked.film:
            screenshots(devices, folder, every=asked.all is not None)
        if asked.all is None:
            filmed(devices, shop, folder / FILM)
        if faults := devices.close():
            parser.exit(1, "\n".join(["faults that the pages had:", *faults, ""]))


if __name__ == "__main__":
    main()
