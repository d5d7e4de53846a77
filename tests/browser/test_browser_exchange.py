"""The exchange in a real browser: somebody comes, trades, and sees the market move."""

import re
from collections.abc import Iterator

import httpx
import pytest
from devices import SCREENS, Device, Devices, aside, started
from faults_of_pages import faults_of
from playwright.sync_api import Browser, Locator, expect
from shop_process import ShopProcess

pytest.importorskip("websockets", reason="the server needs the package websockets")


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    running = ShopProcess(
        tmp_path_factory.mktemp("browser") / "exchange",
        system="exchange",
        options={"bots": "off", "sequencer": "memory"},
        settings={"RATE_LIMIT_PER_S": "100000"},
    )
    try:
        started(running)
        yield running
        assert running.stop() == 0, running.log_tail()
    finally:
        running.kill()


@pytest.fixture
def trading(browser: Browser, exchange: ShopProcess) -> Iterator[Devices]:
    devices = Devices(browser, exchange.url)
    yield devices
    faults = devices.close()
    assert not faults, "\n".join(faults)


class Maker:
    """Somebody else, who trades over REST."""

    def __init__(self, exchange: ShopProcess) -> None:
        self.url = f"{exchange.url}/api/v1"
        token = aside(lambda: httpx.post(f"{self.url}/trial")).json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def place(self, side: str, quantity: int, price: int, symbol: str = "ACME") -> None:
        order = {"symbol": symbol, "side": side, "quantity": quantity, "price": price}
        answer = aside(lambda: httpx.post(f"{self.url}/orders", json={"order": order}, headers=self.headers))
        assert answer.status_code == 200, answer.text

    def leave(self) -> None:
        assert aside(lambda: httpx.post(f"{self.url}/orders/cancel", json={}, headers=self.headers)).status_code == 200


@pytest.fixture
def maker(exchange: ShopProcess) -> Iterator[Maker]:
    maker = Maker(exchange)
    yield maker
    maker.leave()


def come(device: Device, symbol: str = "ACME") -> None:
    """Come as a stranger and get an account by one click."""
    device.open(f"/trade/{symbol}")
    device.click("Trade with play money")
    expect(device.page.get_by_role("button", name=f"Buy {symbol}")).to_be_visible()
    expect(device.page.locator("#status")).to_have_text("live")


def level(device: Device, side: str, price: str) -> Locator:
    """The row of the order book at a price."""
    return device.page.locator(f"#{side} tr").filter(has_text=re.compile(rf"^\s*{re.escape(price)}"))


def test_an_order_is_placed_and_canceled_and_the_depth_moves(trading: Devices, maker: Maker) -> None:
    maker.place("sell", 40, 10_100)
    ann, watcher = trading(), trading()
    watcher.open("/trade/ACME")
    expect(level(watcher, "asks", "101.00")).to_contain_text("40")
    come(ann)
    ann.main.get_by_label("Lots").fill("25")
    ann.main.get_by_label("Limit price").fill("99.50")
    ann.click("Buy ACME")
    expect(ann.page.locator("#answer")).to_have_text("Order 1 works.")
    expect(level(ann, "bids", "99.50")).to_contain_text("25")
    expect(level(watcher, "bids", "99.50")).to_contain_text("25")
    ann.click("Cancel order 1")
    expect(ann.page.locator("#answer")).to_have_text("Order 1 is canceled.")
    expect(level(watcher, "bids", "99.50")).to_have_count(0)
    expect(ann.page.locator("#orders")).to_have_text(re.compile("None."))


def test_a_trade_is_seen_on_the_tape_in_the_positions_and_on_the_chart(trading: Devices, maker: Maker) -> None:
    maker.place("sell", 10, 4_260, "BORE")
    ann = trading()
    come(ann, "BORE")
    ann.main.get_by_label("Lots").fill("4")
    ann.main.get_by_label("Kind").select_option("market")
    expect(ann.page.locator("#price-field")).to_be_hidden()
    ann.click("Buy BORE")
    expect(ann.page.locator("#tape tr").first).to_contain_text("42.60")
    expect(ann.page.locator("#positions")).to_contain_text("BORE")
    expect(ann.page.locator("#cash")).to_have_text("999,829.60")
    expect(ann.page.locator("#last")).to_have_text("42.60")
    expect(ann.page.locator("#chart")).to_have_attribute("data-close", "42.60")
    expect(ann.page.locator("#chart canvas").first).to_be_visible()


def test_one_trades_by_keyboard_alone(trading: Devices) -> None:
    ann = trading()
    come(ann)
    ann.page.locator("h1").click()
    ann.page.keyboard.press("s")
    expect(ann.page.get_by_role("button", name="Sell ACME")).to_be_visible()
    ann.page.keyboard.type("7")
    ann.page.keyboard.press("Tab")
    ann.page.keyboard.press("ControlOrMeta+a")
    ann.page.keyboard.type("104")
    ann.page.keyboard.press("Enter")
    expect(level(ann, "asks", "104.00")).to_contain_text("7")
    ann.page.locator("h1").click()
    ann.page.keyboard.press("x")
    expect(ann.page.locator("#answer")).to_have_text("1 canceled.")


def test_a_price_of_the_book_goes_into_the_ticket(trading: Devices, maker: Maker) -> None:
    maker.place("sell", 40, 10_234)
    ann = trading()
    come(ann)
    ann.page.get_by_role("button", name="102.34", exact=True).click()
    expect(ann.main.get_by_label("Limit price")).to_have_value("102.34")


def test_the_overview_is_live(trading: Devices, maker: Maker) -> None:
    ann = trading()
    ann.open("/")
    expect(ann.page.locator("#status")).to_have_text("live")
    maker.place("buy", 5, 6_150, "CUMU")
    expect(ann.page.locator("tr[data-symbol=CUMU] [data-is=bid]")).to_have_text("307.50")


def test_what_happens_does_not_move_the_page(trading: Devices, maker: Maker) -> None:
    ann = trading()
    come(ann)
    ann.page.evaluate(
        "new PerformanceObserver(list => { for (const each of list.getEntries()) if (!each.hadRecentInput)"
        " window.moved = (window.moved || 0) + each.value }).observe({type: 'layout-shift', buffered: true})"
    )
    for place in range(12):
        maker.place("sell", 3 + place, 10_110 + place)
        maker.place("buy", 3 + place, 9_890 - place)
    ann.main.get_by_label("Limit price").fill("101.13")
    ann.click("Buy ACME")
    expect(ann.page.locator("#positions")).to_contain_text("ACME")
    assert ann.page.evaluate("window.moved || 0") < 0.02


def administrator(trading: Devices, exchange: ShopProcess, email: str) -> Device:
    boss = trading()
    boss.open("/register")
    boss.main.get_by_label("Name that is shown to you").fill("Ann")
    boss.main.get_by_label("E-mail address").fill(email)
    boss.main.get_by_label("Password").fill("seven quiet herons")
    boss.click("Register")
    assert aside(lambda: exchange.command("admin", "exchange", email)).returncode == 0
    boss.open("/risk")
    return boss


def test_an_administrator_halts_and_stops(trading: Devices, exchange: ShopProcess, maker: Maker) -> None:
    maker.place("sell", 3, 18_500, "COPR")
    boss = administrator(trading, exchange, "risk@example.org")
    boss.click("Halt COPR")
    expect(boss.main.get_by_role("status")).to_have_text("Done.")
    watcher = trading()
    watcher.open("/trade/COPR")
    expect(watcher.page.locator("#phase")).to_have_text("halted")
    boss.click("Auction COPR")
    boss.click("Trade COPR")
    expect(watcher.page.locator("#phase")).to_have_text("continuous")
    found = list(faults_of(boss, "risk"))
    boss.main.get_by_role("link", name=re.compile("^1[0-9]{3}$")).first.click()
    found += faults_of(boss, "account")
    assert not found, "\n".join(found)
    boss.open("/risk")
    boss.page.on("dialog", lambda dialog: dialog.accept())
    boss.click("Stop everybody")
    expect(level(watcher, "asks", "9,250.00")).to_have_count(0)
    boss.click("Let trading go on")
    expect(boss.main.get_by_role("status")).to_have_text("Trading goes on.")


def test_an_administrator_holds_what_the_breaker_has_halted(
    trading: Devices, exchange: ShopProcess, maker: Maker
) -> None:
    """That it stays halted then is shown in test_desk_pages, where time costs nothing."""
    boss, other = administrator(trading, exchange, "hold@example.org"), Maker(exchange)
    expect(boss.main.get_by_role("button", name="Hold BTX")).to_have_count(0)
    for price in (64_000, 71_000):
        maker.place("sell", 1, price, "BTX")
        other.place("buy", 1, price, "BTX")
    boss.open("/risk")
    boss.click("Hold BTX")
    expect(boss.main.get_by_role("status")).to_have_text("Done.")
    expect(boss.main.get_by_role("row", name="BTX").locator(".phase")).to_have_text("halted")
    boss.click("Auction BTX")
    boss.click("Trade BTX")
    expect(boss.main.get_by_role("button", name="Halt BTX")).to_be_visible()


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_are_open_to_everybody(trading: Devices, maker: Maker, screen: str) -> None:
    maker.place("sell", 40, 10_100)
    maker.place("buy", 20, 9_900)
    ann = trading(screen, still=True)
    come(ann)
    ann.main.get_by_label("Limit price").fill("101")
    ann.click("Buy ACME")
    expect(ann.page.locator("#positions")).to_contain_text("ACME")
    found = list(faults_of(ann, "trade"))
    for path in ("/", "/account", "/engine"):
        ann.open(path)
        found += faults_of(ann, path)
    guest = trading(screen, still=True)
    for path in ("/login", "/register", "/trade/BTX"):
        guest.open(path)
        found += faults_of(guest, path)
    assert not found, "\n".join(found)
