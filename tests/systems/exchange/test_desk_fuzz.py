"""REST, forms and the stream are told nearly what they want: each answers, never with a failure of the server."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from codecs_of_exchange import SAID, changed
from desk_stage import HOST, Socket, Stage, Visitor, exchange_running
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.sqlite_only("what is read is looked at before any database is asked")

ORDER = b'{"order":{"symbol":"ACME","side":"buy","quantity":5,"price":10050,"tif":"gtc","display":1}}'
ASKED = [
    ("POST", b"/api/v1/orders", ORDER),
    ("PATCH", b"/api/v1/orders/1", b'{"quantity":5,"price":100}'),
    ("DELETE", b"/api/v1/orders/1", b""),
    ("POST", b"/api/v1/orders/cancel", b'{"symbol":"ACME","side":"buy"}'),
    ("POST", b"/api/v1/keys", b'{"name":"bot","scopes":["orders:read"]}'),
    ("GET", b"/api/v1/instruments/ACME/depth?levels=5", b""),
    ("GET", b"/api/v1/instruments/ACME/candles?step_s=60", b""),
    ("GET", b"/api/v1/orders?symbol=ACME&ended=true", b""),
    ("GET", b"/api/v1/fills?limit=5", b""),
    ("GET", b"/api/v1/market/ACME/average?seconds=60", b""),
    ("POST", b"/trade/ACME/orders", b"side=buy&type=limit&quantity=5&price=1.01&tif=gtc&number=7"),
    ("POST", b"/trade/ACME/cancel", b"number=7"),
    ("POST", b"/theme", b"theme=dark"),
    ("GET", b"/trade/ACME?step=60", b""),
]
"""Method, target and body. Passwords are left out: to look at one takes its time by intention."""
FEW = settings(deadline=None, max_examples=3, phases=[Phase.generate], suppress_health_check=[*HealthCheck])


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes]:
    method, target, body = draw(st.sampled_from(ASKED))
    if body and draw(st.integers(0, 3)):
        return method, target.decode(), draw(changed(body))
    return method, quote(draw(changed(target)), safe="/?&=%"), body


async def answered(stage: Stage, token: str, method: str, target: str, body: bytes) -> int:
    """Ask as a trader with a token, or on pages as somebody with a cookie; return the status."""
    visitor = Visitor(stage.run.asgi)
    if target.startswith("/api"):
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    else:
        await visitor.post("/trial")
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": f"http://{HOST}"}
    plain, mark, query = target.partition("?")
    answer = await visitor._ask(method, (unquote(plain, "latin-1") or "/") + mark + query, body, headers)
    if "json" in answer.headers.get("content-type", ""):
        json.loads(answer.text)
    return answer.status


@given(asked=st.lists(requests(), min_size=40, max_size=60))
@FEW
async def test_every_request_is_answered_and_none_by_a_failure(asked: list[tuple[str, str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with exchange_running(Path(folder) / "exchange") as stage:
            token = (await stage.trader()).session.access_token
            seen = Counter[int]()
            for each in asked:
                seen[await answered(stage, token, *each)] += 1
            assert max(seen) < 500, seen
            assert seen[429] < len(asked) / 2
            assert await answered(stage, token, "POST", "/api/v1/orders", ORDER) in {200, 409}


@given(said=st.lists(st.sampled_from(SAID).flatmap(changed), min_size=40, max_size=60))
@FEW
async def test_every_message_of_the_stream_has_a_reply(said: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with exchange_running(Path(folder) / "exchange") as stage:
            trader = await stage.trader()
            ann = await Socket(stage.run.asgi, {"authorization": f"Bearer {trader.session.access_token}"}).open()
            for text in said:
                ann.inbox.put_nowait({"type": "websocket.receive", "text": text.decode("latin-1")})
                reply = await ann.next("reply")
                assert reply["ok"] or reply["text"]
            assert (await ann.ask("ping"))["ok"]
            await ann.close()
