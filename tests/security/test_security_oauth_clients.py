"""Clients that others wrote, against our server: Authlib's, oauthlib's by requests-oauthlib."""

import asyncio
import io
import json
import warnings
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from oauth_party import BACK, ISSUER, Party, party
from requests.adapters import BaseAdapter

from archstone.data import Database
from archstone.security import KeyRing
from archstone.security.oauth import NewClient
from archstone.security.oauth.clients import DEVICE, OWN


class Inside(BaseAdapter):
    """Carries what `requests` sends to the application in this process, on a loop of its own."""

    def __init__(self, runner: asyncio.Runner, world: Party) -> None:
        super().__init__()
        self.runner, self.world = runner, world

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        place = urlsplit(str(request.url))
        assert f"{place.scheme}://{place.netloc}{place.path}".startswith(ISSUER)
        path = place.path.removeprefix("/oauth") + (f"?{place.query}" if place.query else "")
        body = request.body if isinstance(request.body, bytes | None) else str(request.body).encode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = self.runner.run(self.world.ask(str(request.method), path, body, headers=headers))
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = told.status, str(request.url), request
        answer.headers.update(told.headers)
        answer.raw = io.BytesIO(told.body)
        return answer

    def close(self) -> None:
        """Nothing is open."""


class Stage:
    """A server on a loop that runs when something is asked."""

    def __init__(self, runner: asyncio.Runner, world: Party) -> None:
        self.runner, self.world = runner, world

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def mounted(self, session: Any) -> Any:
        session.mount("https://", Inside(self.runner, self.world))
        return session

    def client(self, **more: Any) -> NewClient:
        return self.run(self.world.client(**more))

    def allowed(self, url: str, who: str = "ann") -> str:
        """Let a person go where a client sends them, and allow it; return where that leads."""

        async def go() -> str:
            begun = await self.world.ask("GET", url.removeprefix(ISSUER), who=who)
            page = await self.world.ask("GET", begun.to.removeprefix("/oauth"), who=who)
            return (await self.world.decide({"id": page.field("id"), "decision": "allow"}, who=who)).to

        return self.run(go())


@pytest.fixture(params=["ES256", "RS256"])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with asyncio.Runner() as runner:
        db = Database(f"sqlite:///{tmp_path}/oauth.db")
        runner.run(db.__aenter__())
        made = party(db, keys=KeyRing.generate(request.param))
        yield Stage(runner, runner.run(made.__aenter__()))
        runner.run(made.__aexit__(None, None, None))
        runner.run(db.__aexit__(None, None, None))


def test_requests_oauthlib_goes_through_the_code_flow_and_refreshes(stage: Stage) -> None:
    from requests_oauthlib import OAuth2Session

    made = stage.client()
    session = stage.mounted(OAuth2Session(made.client.id, redirect_uri=BACK, scope=["orders:read"], pkce="S256"))
    url, _ = session.authorization_url(f"{ISSUER}/authorize")
    token = session.fetch_token(
        f"{ISSUER}/token", authorization_response=stage.allowed(url), client_secret=made.secret, include_client_id=True
    )
    assert token["scope"] == ["orders:read"]
    assert stage.world.oauth.tokens.verify(token["access_token"]).principal.id == "ann"
    again = session.refresh_token(
        f"{ISSUER}/token", client_id=made.client.id, client_secret=made.secret, refresh_token=token["refresh_token"]
    )
    assert again["refresh_token"] != token["refresh_token"]


def test_oauthlib_refuses_an_answer_with_another_state(stage: Stage) -> None:
    from oauthlib.oauth2.rfc6749.errors import MismatchingStateError
    from requests_oauthlib import OAuth2Session

    made = stage.client()
    session = stage.mounted(OAuth2Session(made.client.id, redirect_uri=BACK, scope=["orders:read"], pkce="S256"))
    url, state = session.authorization_url(f"{ISSUER}/authorize")
    answer = stage.allowed(url).replace(f"state={state}", "state=wrong")
    with pytest.raises(MismatchingStateError):
        session.fetch_token(f"{ISSUER}/token", authorization_response=answer, client_secret=made.secret)


def test_oauthlib_gets_a_token_for_a_program_itself(stage: Stage) -> None:
    from oauthlib.oauth2 import BackendApplicationClient
    from requests_oauthlib import OAuth2Session

    made = stage.client(grant_types=[OWN], redirect_uris=[])
    session = stage.mounted(OAuth2Session(client=BackendApplicationClient(client_id=made.client.id)))
    token = session.fetch_token(f"{ISSUER}/token", client_id=made.client.id, client_secret=made.secret)
    assert stage.world.oauth.tokens.verify(token["access_token"]).principal.id == f"client:{made.client.id}"


def test_oauthlib_connects_a_device(stage: Stage) -> None:
    from oauthlib.oauth2 import DeviceClient
    from requests_oauthlib import OAuth2Session

    made = stage.client(grant_types=[DEVICE], redirect_uris=[], confidential=False)
    plain = stage.mounted(requests.Session())
    begun = plain.post(f"{ISSUER}/device_authorization", data={"client_id": made.client.id}).json()
    decided = stage.world.decide({"user_code": begun["user_code"], "decision": "allow"}, path="/device")
    assert stage.run(decided).status == 200
    session = stage.mounted(OAuth2Session(client=DeviceClient(client_id=made.client.id)))
    token = session.fetch_token(f"{ISSUER}/token", device_code=begun["device_code"], include_client_id=True)
    assert stage.world.oauth.tokens.verify(token["access_token"]).principal.id == "ann"


def test_authlib_asks_about_and_revokes_a_token(stage: Stage) -> None:
    from authlib.integrations.requests_client import OAuth2Session

    made = stage.client(grant_types=["authorization_code", "refresh_token"])
    session = stage.mounted(
        OAuth2Session(made.client.id, made.secret, scope="orders:read", redirect_uri=BACK, code_challenge_method="S256")
    )
    verifier = "v" * 48
    url, state = session.create_authorization_url(f"{ISSUER}/authorize", code_verifier=verifier)
    session.fetch_token(
        f"{ISSUER}/token", authorization_response=stage.allowed(url), code_verifier=verifier, state=state
    )
    told = session.introspect_token(f"{ISSUER}/introspect", token=session.token["access_token"])
    assert told.json()["active"] is True
    session.refresh_token(f"{ISSUER}/token")
    assert session.revoke_token(f"{ISSUER}/revoke", token=session.token["refresh_token"]).status_code == 200
    told = session.introspect_token(f"{ISSUER}/introspect", token=session.token["access_token"])
    assert told.json() == {"active": False}


def test_authlib_signs_somebody_in_by_openid_connect(stage: Stage) -> None:
    """Discovery, PKCE, state, nonce and the ID token, as a Flask application of somebody else has it."""
    from authlib.integrations.base_client.errors import MismatchingStateError
    from authlib.integrations.flask_client import FlaskOAuth2App, OAuth
    from authlib.integrations.requests_client import OAuth2Session
    from flask import Flask, url_for

    made = stage.client(redirect_uris=["https://books.example/back"])

    class Session(OAuth2Session):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            stage.mounted(self)

    class App(FlaskOAuth2App):
        client_cls = Session

    app = Flask(__name__)
    app.secret_key, app.testing = "x" * 32, True
    oauth = OAuth(app)
    oauth.oauth2_client_cls = App
    oauth.register(
        "shop",
        client_id=made.client.id,
        client_secret=made.secret,
        server_metadata_url=f"{ISSUER}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email orders:read", "code_challenge_method": "S256"},
    )

    @app.get("/in")
    def sign_in() -> Any:
        return oauth.shop.authorize_redirect(url_for("back", _external=True))

    @app.get("/back")
    def back() -> Any:
        token = oauth.shop.authorize_access_token()
        return {"userinfo": token["userinfo"], "told": oauth.shop.userinfo(token=token)}

    with app.test_client() as browser, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own transitions
        begun = browser.get("/in", base_url="https://books.example")
        answer = urlsplit(stage.allowed(begun.headers["location"]))
        done = browser.get(f"{answer.path}?{answer.query}", base_url="https://books.example")
        said = json.loads(done.data)
        assert said["userinfo"]["sub"] == "ann"
        assert said["userinfo"]["iss"] == ISSUER
        assert said["told"] == {"sub": "ann", "email": "ann@example.com"}
        # The same answer put into another browser is refused: its state is not there.
        with app.test_client() as other, pytest.raises(MismatchingStateError):
            other.get(f"{answer.path}?{answer.query}", base_url="https://books.example")
