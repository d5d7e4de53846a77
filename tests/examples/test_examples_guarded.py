"""The example of a guarded FastAPI application does what it says."""

import re
import sys
from pathlib import Path

import httpx
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
OWN = {"sec-fetch-site": "same-origin"}


@pytest.mark.real_time
async def test_it_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "guarded_fastapi", raising=False)
    import guarded_fastapi as example

    ann = {"x-user": "ann", "x-roles": "writer"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(example.app), base_url="http://x") as http:
        page = await http.get("/")
        nonce = re.search(r'nonce="([^"]+)"', page.text)
        assert nonce is not None
        assert f"'nonce-{nonce[1]}'" in page.headers["content-security-policy"]
        assert (await http.get("/notes/2", headers=ann)).json() == "call Ann"
        assert (await http.get("/notes/2")).status_code == 401
        assert (await http.delete("/notes/2", headers={**ann, **OWN})).status_code == 404
        assert (await http.delete("/notes/1", headers={**ann, "x-roles": "reader", **OWN})).status_code == 403
        forged = await http.delete("/notes/1", headers={**ann, "sec-fetch-site": "cross-site"})
        assert (forged.status_code, forged.json()["type"]) == (403, "urn:archstone:error:security.cross-site")
        assert forged.headers["x-content-type-options"] == "nosniff"
        assert (await http.delete("/notes/1", headers={**ann, **OWN})).status_code == 200
        assert (await http.delete("/notes/2", headers={"x-user": "eve", "x-roles": "editor", **OWN})).status_code == 200
        assert example.notes == {}
