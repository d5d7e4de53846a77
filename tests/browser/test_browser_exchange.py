"""The exchange in a real browser: somebody comes, trades, and sees the market move."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from devices import SCREENS, Device, Devices, aside, started
from faults_of_pages import faults_of
from playwright.sync_api import Browser, Locator, WebSocketRoute, expect
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
    ann.main.get_by_label("Lots", exact=True).fill("25")
    ann.main.get_by_label("Limit price").fill("99.50")
    ann.click("Buy ACME")
    expect(ann.page.locator("#answer")).to_have_text("Order 1 works: buy 25 ACME at 99.50.")
    expect(level(ann, "bids", "99.50")).to_contain_text("25")
    expect(level(watcher, "bids", "99.50")).to_contain_text("25")
    ann.click("Cancel order 1")
    expect(ann.page.locator("#answer")).to_have_text("Order 1 is canceled: buy 25 ACME at 99.50 (asked for).")
    expect(level(watcher, "bids", "99.50")).to_have_count(0)
    expect(ann.page.locator("#orders")).to_have_text(re.compile("No open orders."))


def test_a_trade_is_seen_on_the_tape_in_the_positions_and_on_the_chart(trading: Devices, maker: Maker) -> None:
    maker.place("sell", 10, 4_260, "BORE")
    ann = trading()
    come(ann, "BORE")
    ann.main.get_by_label("Lots", exact=True).fill("4")
    ann.main.get_by_label("Kind").select_option("market")
    expect(ann.page.locator("#price-field")).to_be_hidden()
    expect(ann.page.locator("#worth")).to_have_text("170.40")
    expect(ann.page.locator("#fee")).to_have_text("0.06")
    ann.click("Buy BORE")
    expect(ann.page.locator("#answer")).to_have_text("Order 1 is filled: bought 4 BORE at 42.60.")
    expect(ann.page.locator("#tape tr").first).to_contain_text("42.60")
    expect(ann.page.locator("#positions")).to_contain_text("BORE")
    expect(ann.page.locator("#cash")).to_have_text("999,829.60")
    expect(ann.page.locator("#last")).to_have_text("42.60")
    expect(ann.page.locator("#chart")).to_have_attribute("data-close", "42.60")
    expect(ann.page.locator("#chart canvas").first).to_be_visible()
    expect(ann.page.locator("#positions tr")).to_have_text(re.compile(r"BORE\s*4\s*42.60"))
    ann.main.get_by_role("button", name="Fill in the order that closes this position").click()
    expect(ann.page.get_by_role("button", name="Sell BORE")).to_be_visible()
    expect(ann.main.get_by_label("Lots", exact=True)).to_have_value("4")
    ann.open("/orders?show=fills&symbol=BORE")
    expect(ann.main.get_by_role("row").nth(1)).to_contain_text("170.40")
    ann.open("/trade/BORE")  # what the page has is told once more over the stream
    expect(ann.page.locator("#status")).to_have_text("live")
    ann.main.get_by_label("Lots", exact=True).fill("5")
    ann.click("Buy BORE")
    expect(ann.page.locator("#tape tr").first).to_contain_text("5")
    assert [each.split("\t")[:2] for each in ann.page.locator("#tape tr.buy").all_inner_texts()] == [
        ["42.60", "5"],
        ["42.60", "4"],
    ]


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
    expect(ann.page.locator("#answer")).to_have_text("1 order canceled.")


def test_a_price_of_the_book_goes_into_the_ticket(trading: Devices, maker: Maker) -> None:
    maker.place("sell", 40, 10_234)
    ann = trading()
    come(ann)
    ann.page.get_by_role("button", name="102.34", exact=True).click()
    expect(ann.main.get_by_label("Limit price")).to_have_value("102.34")


def test_the_most_that_one_may_order_is_filled_in_and_taken(trading: Devices) -> None:
    ann = trading()
    come(ann)
    ann.main.get_by_label("Limit price").fill("109.00")
    expect(ann.page.locator("#available")).to_have_text("1,000,000.00")
    ann.click("Most")
    expect(ann.main.get_by_label("Lots", exact=True)).to_have_value("4587")
    ann.click("50 %")
    expect(ann.main.get_by_label("Lots", exact=True)).to_have_value("2293")
    ann.main.get_by_label("Limit price").fill("91.00")
    ann.click("Most")
    ann.click("Buy ACME")
    expect(ann.page.locator("#answer")).to_have_text("Order 1 works: buy 5,000 ACME at 91.00.")
    expect(ann.page.locator("#available")).to_have_text("545,000.00")
    ann.main.get_by_label("Lots", exact=True).fill("5001")
    ann.click("Buy ACME")
    expect(ann.page.locator("#answer")).to_have_text(
        "Refused: more lots than an order may have: at most 5,000 of ACME."
    )
    ann.main.get_by_label("Limit price").fill("9x")
    ann.click("Most")
    expect(ann.page.locator("#answer")).to_have_text("Limit price: write a price, such as 100.00.")


def test_who_presses_twice_has_sent_one_order(trading: Devices) -> None:
    ann = trading()
    come(ann)
    ann.main.get_by_label("Limit price").fill("95.00")
    ann.page.evaluate("const send = document.getElementById('send'); send.click(); send.click(); send.click()")
    expect(ann.page.locator("#answer")).to_have_text("Order 1 works: buy 10 ACME at 95.00.")
    ann.click("Buy ACME")
    expect(ann.page.locator("#answer")).to_have_text("Order 2 works: buy 10 ACME at 95.00.")
    expect(ann.page.locator("#orders tr")).to_have_count(2)


def test_who_is_signed_out_meanwhile_is_told_and_sees_the_market(trading: Devices, maker: Maker) -> None:
    ann = trading()
    ends: list[WebSocketRoute] = []

    def between(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        ends.append(socket)

    ann.page.route_web_socket(re.compile("/ws$"), between)
    come(ann)
    ann.excuse("WebSocket")
    other = Device(ann.page.context.new_page())
    other.page.goto(ann.page.url)
    other.click("End the trial")
    ends[-1].close(code=1008)
    expect(ann.page.locator("#status")).to_have_text("signed out")
    expect(ann.page.locator("#out")).to_be_visible()
    maker.place("sell", 7, 10_777)
    expect(level(ann, "asks", "107.77")).to_contain_text("7")
    ann.click("Buy ACME")
    expect(ann.page.locator("#answer")).to_have_text("You are signed out, nothing was sent: sign in again.")
    ann.main.get_by_role("link", name="Sign in again").click()
    expect(ann.page).to_have_url(re.compile("/login"))


def test_what_became_of_an_order_is_not_guessed_when_nobody_knows(trading: Devices) -> None:
    """As while the leader of two nodes dies, which takes processes: here the answer is put in on its way."""
    ann = trading()
    said = {"text": "Trading.place: a reply of a program for programs"}

    def between(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def asked(message: str | bytes) -> None:
            told = json.loads(message)
            if told["op"] == "place":
                socket.send(json.dumps({"type": "reply", "ref": told["ref"], "ok": False, **said}))
            else:
                server.send(message)

        socket.on_message(asked)

    ann.page.route_web_socket(re.compile("/ws$"), between)
    come(ann)
    for code, told in (
        ("archstone.backend", "It is not known whether that was done: look at your open orders before you try again."),
        ("archstone.rejected", "The exchange does not take this right now, and nothing was done"),
        ("exchange.unknown-order", "Not done: Trading.place: a reply"),
    ):
        said["code"] = code
        ann.click("Buy ACME")
        expect(ann.page.locator("#answer.fault")).to_contain_text(told)


def test_without_a_connection_prices_are_dimmed_and_nothing_is_sent(trading: Devices) -> None:
    ann = trading()
    ends: list[WebSocketRoute] = []
    away: list[bool] = []

    def between(socket: WebSocketRoute) -> None:
        if not away:
            socket.connect_to_server()
        ends.append(socket)

    ann.page.route_web_socket(re.compile("/ws$"), between)
    come(ann)
    away.append(True)
    ends[-1].close(code=1001)
    expect(ann.page.locator("#status")).to_contain_text("connection lost")
    expect(ann.page.locator("body.stale #book")).to_be_visible()
    ann.click("Buy ACME")
    expect(ann.page.locator("#answer")).to_contain_text("nothing was sent")


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
    expect(boss.main.locator(".notice")).to_contain_text("It is halted")
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
    expect(boss.page.locator("#status")).to_have_text("live")
    boss.excuse("503|ERR_FAILED")
    boss.page.route(re.compile("/risk$"), lambda route: route.abort())
    expect(boss.page.locator("#status")).to_contain_text("connection lost")
    boss.page.unroute(re.compile("/risk$"))
    boss.open("/risk")
    boss.page.on("dialog", lambda dialog: dialog.accept())
    boss.click("Stop everybody")
    expect(level(watcher, "asks", "9,250.00")).to_have_count(0)
    boss.click("Let trading go on")
    expect(boss.main.locator(".notice")).to_have_text("Trading goes on.")


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
    expect(boss.main.locator(".notice")).to_contain_text("It is halted")
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
    for path in ("/", "/account", "/orders", "/orders?show=fills", "/statement", "/engine"):
        ann.open(path)
        found += faults_of(ann, path)
    guest = trading(screen, still=True)
    for path in ("/login", "/register", "/trade/BTX"):
        guest.open(path)
        found += faults_of(guest, path)
    assert not found, "\n".join(found)
