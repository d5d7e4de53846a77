"""Somebody lets an app act for them, in a browser, from the app's request to its first call."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from devices import PASSWORD, Devices, started
from oauth_party import VERIFIER, challenge_of
from playwright.sync_api import Browser, expect
from shop_process import ShopProcess


class App:
    """An app on this machine that listens for its answer."""

    def __init__(self) -> None:
        answers = self.answers = list[dict[str, str]]()

        class Listener(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                if "state" in query:
                    answers.append({name: values[0] for name, values in query.items()})
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-security-policy", "default-src 'none'")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>App</title><h1>Thank you</h1>")

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
        self.back = f"http://127.0.0.1:{self.server.server_port}/back"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def app() -> Iterator[App]:
    made = App()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    shop = ShopProcess(tmp_path_factory.mktemp("consent") / "shop", settings={"RATE_LIMIT_PER_S": "100000"})
    shop.options["public_url"] = shop.url
    try:
        started(shop)
        yield shop
        assert shop.stop() == 0, shop.log_tail()
    finally:
        shop.kill()


@pytest.fixture
def device(browser: Browser, shop: ShopProcess) -> Iterator[Devices]:
    devices = Devices(browser, shop.url)
    yield devices
    faults = devices.close()
    assert not faults, "\n".join(faults)


def test_somebody_lets_an_app_see_their_orders_and_takes_it_back(
    device: Devices, shop: ShopProcess, app: App, tmp_path: Path
) -> None:
    root = device()
    root.register("root@example.org")
    assert shop.command("admin", "shop", "root@example.org").returncode == 0
    root.open("/admin/apps")
    root.main.get_by_label("Name, as customers read it").fill("Bookkeeper")
    root.main.get_by_label("Where answers go").fill(app.back)
    root.main.get_by_label("See your orders").check()
    root.click("Register it")
    client_id = root.main.locator("#client-id").inner_text()
    secret = root.main.locator("#client-secret").inner_text()

    ann = device("phone")
    ann.register("ann@example.org")
    ann.page.context.clear_cookies()
    said = {
        "response_type": "code", "client_id": client_id, "redirect_uri": app.back, "scope": "openid orders:read",
        "state": "mine", "nonce": "n", "code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256",
    }  # fmt: skip
    ann.open(f"/oauth/authorize?{urlencode(said)}")
    ann.main.get_by_label("E-mail address").fill("ann@example.org")
    ann.main.get_by_label("Password").fill(PASSWORD)
    ann.main.get_by_role("button", name="Sign in").click()
    expect(ann.page.get_by_role("heading", name="May Bookkeeper do this in your name?")).to_be_visible()
    expect(ann.page.get_by_text("See your orders")).to_be_visible()
    assert ann.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ann.click("Allow")
    expect(ann.page.get_by_role("heading", name="Thank you")).to_be_visible()
    answer = app.answers[-1]
    assert (answer["state"], answer["iss"]) == ("mine", f"{shop.url}/oauth")

    with httpx.Client(base_url=shop.url) as http_client:
        fields = {
            "grant_type": "authorization_code", "code": answer["code"], "redirect_uri": app.back,
            "code_verifier": VERIFIER, "client_id": client_id, "client_secret": secret,
        }  # fmt: skip
        tokens = http_client.post("/oauth/token", data=fields).json()
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        assert http_client.get("/api/v1/users/me/orders", headers=headers).status_code == 200
        assert http_client.get("/api/v1/users/me", headers=headers).status_code == 403
        ann.open("/oauth/apps")
        expect(ann.page.get_by_text("Bookkeeper")).to_be_visible()
        ann.click("End this")
        expect(ann.page.get_by_text("There are none.")).to_be_visible()
        assert http_client.get("/api/v1/users/me/orders", headers=headers).status_code == 401


def test_somebody_says_no_and_the_app_hears_it(device: Devices, shop: ShopProcess, app: App) -> None:
    ann = device(dark=True)
    ann.register("no@example.org")
    root = device()
    root.register("root2@example.org")
    assert shop.command("admin", "shop", "root2@example.org").returncode == 0
    root.open("/admin/apps")
    root.main.get_by_label("Name, as customers read it").fill("Nosy")
    root.main.get_by_label("Where answers go").fill(app.back)
    root.main.get_by_label("See your orders").check()
    root.main.get_by_label("Where it runs").select_option("device")
    root.click("Register it")
    said = {
        "response_type": "code", "client_id": root.main.locator("#client-id").inner_text(), "redirect_uri": app.back,
        "scope": "orders:read", "state": "mine", "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }  # fmt: skip
    ann.open(f"/oauth/authorize?{urlencode(said)}")
    ann.click("Do not allow")
    expect(ann.page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert app.answers[-1]["error"] == "access_denied"


def test_a_key_is_made_shown_once_and_revoked(device: Devices, shop: ShopProcess) -> None:
    ann = device()
    ann.register("keys@example.org")
    ann.open("/account/keys")
    ann.main.get_by_label("What it is for").fill("Nightly export")
    ann.main.get_by_label("See your orders").check()
    ann.click("Make the key")
    key = ann.main.locator("#new-key").inner_text()
    with httpx.Client(base_url=shop.url, headers={"x-api-key": key}) as http_client:
        assert http_client.get("/api/v1/users/me/orders").status_code == 200
        ann.open("/account/keys")
        expect(ann.main.locator("#new-key")).to_have_count(0)
        ann.click("Revoke it")
        expect(ann.main.get_by_text("This key opens nothing any more.")).to_be_visible()
        assert http_client.get("/api/v1/users/me/orders").status_code == 401
