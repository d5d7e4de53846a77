"""A browser without a screen: it keeps cookies, follows redirects when told, and fills in forms as they stand."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

from archstone import context
from archstone.context import Principal
from archstone.runtime import Embedded
from archstone.services.http import Response, ask
from archstone.systems.shop.users.contract import UserAdmin

HOST = "shop.test"
ROOT = Principal("operator", frozenset({"admin"}))
"""Whoever stands at the machine."""


@dataclass
class Form:
    """A form of a page: where it goes, and its fields as they stand."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.texts: list[str] = []
        self.inline: list[str] = []
        self._select: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.inline += [name for name in found if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline.append(tag)
        if tag == "form":
            self.forms.append(Form(found["action"], found["method"]))
        elif tag == "input" and "name" in found and self.forms:
            if found.get("type") not in {"radio", "checkbox"} or "checked" in found:
                self.forms[-1].fields[found["name"]] = found.get("value", "")
        elif tag == "select":
            self._select = found["name"]
            self.forms[-1].fields.setdefault(self._select, "")
        elif tag == "option" and self._select and "selected" in found:
            self.forms[-1].fields[self._select] = found["value"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class Answer:
    """What came back."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.html = response.body.decode()
        self.headers = {name.decode(): value.decode() for name, value in response.headers}
        self.cookies = [value.decode() for name, value in response.headers if name == b"set-cookie"]

    @cached_property
    def _read(self) -> _Reader:
        reader = _Reader()
        reader.feed(self.html)
        return reader

    @property
    def forms(self) -> list[Form]:
        return self._read.forms

    @property
    def inline(self) -> list[str]:
        return self._read.inline

    @cached_property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self._read.texts))

    @property
    def to(self) -> str:
        assert self.status == 303, (self.status, self.text)
        return self.headers["location"]

    def form(self, action: str) -> Form:
        """Return the first form that goes there."""
        found = [form for form in self.forms if form.action == action]
        assert found, f"no form to {action} in {self.text}"
        return found[0]


@dataclass
class Browser:
    """One browser of one person."""

    app: Any
    cookies: dict[str, str] = field(default_factory=dict)
    scheme: str = "http"
    languages: str = "en"
    headers: Mapping[str, str] = field(default_factory=dict)
    """More of them, or others in place of those that it sends by itself."""
    client: tuple[str, int] = ("127.0.0.1", 50_000)

    async def get(self, path: str) -> Answer:
        """Open a page."""
        return await self._ask("GET", path, {}, b"")

    async def post(self, path: str, fields: Mapping[str, str]) -> Answer:
        """Send a form to a path, as a page of the same site does."""
        own = {
            "content-type": "application/x-www-form-urlencoded",
            "origin": f"{self.scheme}://{HOST}",
            "sec-fetch-site": "same-origin",
        }
        return await self._ask("POST", path, own, urlencode(fields).encode())

    async def submit(self, page: Answer, action: str, **typed: str) -> Answer:
        """Fill in a form of a page and send it."""
        form = page.form(action)
        assert form.method == "post"
        unknown = typed.keys() - form.fields.keys()
        assert unknown <= {"card"}, f"the form to {action} has no {unknown}"
        return await self.post(form.action, {**form.fields, **typed})

    async def follow(self, answer: Answer) -> Answer:
        """Go where the answer says."""
        return await self.get(answer.to)

    def sent(self, own: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return the headers of a request."""
        headers = {"host": HOST, "accept": "text/html", "accept-language": self.languages, **own, **self.headers}
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return [(name, value) for name, value in headers.items() if value]

    async def _ask(self, method: str, path: str, own: Mapping[str, str], body: bytes) -> Answer:
        response = await ask(
            self.app, method, path, headers=self.sent(own), body=body, client=self.client, scheme=self.scheme
        )
        answer = Answer(response)
        for cookie in answer.cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return answer


async def registered(browser: Browser, email: str = "ann@example.com") -> Browser:
    """Make an account and stay signed in."""
    page = await browser.get("/register")
    answer = await browser.submit(page, "/register", email=email, name="Ann Alder", password="a quiet evening")
    assert answer.status == 303, answer.text
    return browser


async def an_admin(run: Embedded) -> Browser:
    """Return the browser of an administrator."""
    browser = await registered(Browser(run.asgi), "root@example.com")
    await run.client(UserAdmin, as_=ROOT).grant("root@example.com", "admin")
    return browser


ADDRESS = {"name": "Ann Alder", "street": "Mill Lane 1", "city": "Tarn", "postcode": "12345", "country": "DE"}


async def filled(browser: Browser, *lines: tuple[str, int]) -> None:
    """Put products into the cart."""
    for sku, quantity in lines:
        page = await browser.get(f"/p/{sku}")
        answer = await browser.submit(page, "/cart/lines", quantity=str(quantity))
        assert answer.to == "/cart?told=put"


class Stream:
    """An open stream of server-sent events: what has come so far, and hanging up."""

    def __init__(self, browser: Browser, path: str, **headers: str) -> None:
        own = {"accept": "text/event-stream", "sec-fetch-site": "same-origin", **headers}
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = ""
        self._asked = False
        self._gone = asyncio.Event()
        scope = {
            "type": "http", "method": "GET", "scheme": browser.scheme, "path": path, "raw_path": path.encode(),
            "query_string": b"", "root_path": "", "client": browser.client, "http_version": "1.1",
            "headers": [(name.encode(), value.encode()) for name, value in browser.sent(own)],
        }  # fmt: skip
        with context.enter(context.Call()):
            self.task = asyncio.create_task(browser.app(scope, self._receive, self._send))

    @property
    def ids(self) -> list[str]:
        return re.findall(r"^id: (.*)$", self.text, re.MULTILINE)

    @property
    def events(self) -> list[str]:
        return re.findall(r"^event: (.*)$", self.text, re.MULTILINE)

    async def until(self, part: str) -> None:
        """Return when this text has come."""
        for _ in range(20_000):
            if part in self.text:
                return
            assert not self.task.done(), f"ended without {part!r}: {self.status} {self.text}"
            await asyncio.sleep(0.05)
        raise AssertionError(f"{part!r} does not come: {self.text}")

    async def hang_up(self) -> None:
        """Go away, and wait until the other side has noticed."""
        self._gone.set()
        await self.task

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.text += message.get("body", b"").decode()
