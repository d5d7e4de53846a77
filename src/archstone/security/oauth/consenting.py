"""The endpoints that people see: a client's request, their consent, a device's letters, the apps that they have.

What is wrong with a request is told to the client, by redirect, only once it is known who that is and that the answer
may go there; before that it is told to the person, and nobody is sent anywhere.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from archstone.data import Transaction
from archstone.security.oauth.asking import Asked, asked_of, wanted_scopes
from archstone.security.oauth.clients import DEVICE, Client
from archstone.security.oauth.errors import OAuthError
from archstone.security.oauth.http import Answer, Request, redirect, with_query
from archstone.security.oauth.pages import apps_page, consent_page, device_page, message_page
from archstone.security.oauth.people import Person
from archstone.security.oauth.server import OAuth

__all__ = ["REQUEST_URI", "PersonEndpoints"]

REQUEST_URI: Final = "urn:ietf:params:oauth:request_uri:"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST_STATE: Final = 500
_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
"""Of this machine, as origins spell them."""
_OVER: Final = (
    "This request is over",
    "It was answered already, it took too long, or it is somebody else's. Please go back to the app and start again.",
)
_NO_DEVICE: Final = "No device shows these letters. Please look again; they are good for ten minutes."


class PersonEndpoints:
    """Answers `/authorize`, `/par`, `/consent`, `/device` and `/apps`."""

    def __init__(self, oauth: OAuth) -> None:
        self._oauth = oauth
        self.root = urlsplit(oauth.settings.issuer).path
        """Path of the mount, as the world sees it."""

    async def authorize(self, request: Request) -> Answer:
        """Take a client's request, and send the person on to where they decide."""
        said = request.query
        client = await self._oauth.clients.find(said.get("client_id", ""))
        if client is None:
            return message_page(self.root, "Nobody knows this app", "It is not registered here, so it can ask nothing.")
        if "request_uri" in said:
            return await self._pushed(client, said["request_uri"])
        uri = _answer_goes_to(client, said)
        if uri is None:
            told = "It wants its answer at an address that is not registered, so you are not sent there."
            return message_page(self.root, "This app asks wrongly", told)
        state = said.get("state", "")[:_LONGEST_STATE] or None
        try:
            asked = asked_of(client, dict(said), uri, self._oauth.settings)
            await self._check_prompt(request, asked)
            name = await self._oauth.requests.hold(asked)
        except OAuthError as error:
            return self._refused(uri, state, error)
        return redirect(f"{self.root}/consent?id={name}")

    async def _check_prompt(self, request: Request, asked: Asked) -> None:
        """Refuse to answer without a page: each consent is asked for, nobody is let through without having seen it."""
        if asked.prompt == "none":
            person = await self._oauth.people.signed_in(request.scope)
            fault = "login_required" if person is None else "interaction_required"
            raise OAuthError(fault, "a person has to see this")

    async def push(self, client: Client, said: Mapping[str, str]) -> dict[str, object]:
        """Keep a request that a client hands in beforehand (RFC 9126)."""
        if "request_uri" in said or said.get("client_id", client.id) != client.id:
            raise OAuthError("invalid_request", "push the request itself")
        uri = _answer_goes_to(client, said)
        if uri is None:
            raise OAuthError("invalid_request", "this redirect_uri is not registered")
        name = await self._oauth.requests.hold(asked_of(client, dict(said), uri, self._oauth.settings))
        return {"request_uri": f"{REQUEST_URI}{name}", "expires_in": round(self._oauth.settings.asking_s)}

    async def _pushed(self, client: Client, uri: str) -> Answer:
        name = uri.removeprefix(REQUEST_URI)
        asked = await self._oauth.requests.waiting(name) if _NAME.fullmatch(name) else None
        if asked is None or asked.client_id != client.id:
            return message_page(self.root, *_OVER)
        return redirect(f"{self.root}/consent?id={name}")

    async def consent(self, request: Request) -> Answer:
        """Show a person what is asked, after they have signed in."""
        name = request.query.get("id", "")
        person = await self._oauth.people.signed_in(request.scope)
        if not _NAME.fullmatch(name):
            return message_page(self.root, *_OVER)
        if person is None:
            if await self._oauth.requests.waiting(name) is None:
                return message_page(self.root, *_OVER)
            return redirect(self._oauth.people.sign_in(f"{self.root}/consent?id={name}"))
        asked = await self._oauth.requests.shown_to(name, person.id)
        client = None if asked is None else await self._oauth.clients.find(asked.client_id)
        if asked is None or client is None:
            return message_page(self.root, *_OVER)
        return consent_page(
            self.root,
            client=client,
            person=person,
            scopes=asked.scopes,
            words=self._oauth.settings.words,
            leads_to=asked.redirect_uri,
            hidden={"id": name},
        )

    async def decide(self, request: Request, said: Mapping[str, str]) -> Answer:
        """Take a person's decision, once, and send its answer to the client."""
        check_own_form(request, self._oauth.settings.issuer)
        person = await self._oauth.people.signed_in(request.scope)
        if person is None:
            return message_page(self.root, *_OVER)
        allowed = said.get("decision") == "allow"

        async def work(tx: Transaction) -> tuple[Asked, str | None] | None:
            asked = await self._oauth.requests.take(tx, said.get("id", ""), person.id)
            if asked is None:
                return None
            return asked, await self._code(tx, asked, person) if allowed else None

        taken = await self._oauth.db.run(work)
        if taken is None:
            return message_page(self.root, *_OVER)
        asked, code = taken
        if code is None:
            return self._refused(asked.redirect_uri, asked.state, OAuthError("access_denied", "the person said no"))
        issuer = self._oauth.settings.issuer
        return redirect(with_query(asked.redirect_uri, code=code, state=asked.state, iss=issuer))

    async def _code(self, tx: Transaction, asked: Asked, person: Person) -> str:
        grant = await self._oauth.allow(
            tx, client_id=asked.client_id, person=person.id, scopes=asked.scopes, signed_in_us=person.signed_in_us
        )
        return await self._oauth.grants.code_for(tx, grant, asked)

    def _refused(self, uri: str, state: str | None, error: OAuthError) -> Answer:
        issuer = self._oauth.settings.issuer
        return redirect(
            with_query(uri, error=error.fault, error_description=error.description, state=state, iss=issuer)
        )

    async def begin_device(self, client: Client, said: Mapping[str, str]) -> dict[str, object]:
        """Let a device wait for its person."""
        if DEVICE not in client.grant_types:
            raise OAuthError("unauthorized_client", "this client may not use this grant type")
        settings = self._oauth.settings
        made = await self._oauth.devices.begin(client.id, wanted_scopes(client, said.get("scope"), settings))
        place = f"{settings.issuer}/device"
        return {
            "device_code": made.device_code,
            "user_code": made.user_code,
            "verification_uri": place,
            "verification_uri_complete": f"{place}?user_code={made.user_code}",
            "expires_in": round(settings.device_s),
            "interval": round(settings.device_interval_s),
        }

    async def device(self, request: Request) -> Answer:
        """Ask for the letters of a device, after signing in."""
        typed = request.query.get("user_code", "")[:20]
        if await self._oauth.people.signed_in(request.scope) is None:
            back = f"{self.root}/device" + (f"?user_code={quote(typed)}" if typed else "")
            return redirect(self._oauth.people.sign_in(back))
        return device_page(self.root, typed=typed)

    async def device_typed(self, request: Request, said: Mapping[str, str]) -> Answer:
        """Show what the device with these letters asks for, or take the decision about it."""
        check_own_form(request, self._oauth.settings.issuer)
        person = await self._oauth.people.signed_in(request.scope)
        if person is None:
            return redirect(self._oauth.people.sign_in(f"{self.root}/device"))
        typed = said.get("user_code", "")
        # Before looking: guessing right must not be cheaper than guessing wrong.
        await self._oauth.guessing.turn(f"person:{person.id}")
        device = await self._oauth.devices.waiting(typed)
        client = None if device is None else await self._oauth.clients.find(device.client_id)
        if device is None or client is None:
            return device_page(self.root, typed=typed, fault=_NO_DEVICE, status=400)
        if "decision" in said:
            return await self._device_decided(device.user_code, client, person, device.scopes, said["decision"])
        shown = f"{device.user_code[:4]}-{device.user_code[4:]}"
        return consent_page(
            self.root,
            client=client,
            person=person,
            scopes=device.scopes.split(),
            words=self._oauth.settings.words,
            leads_to="",
            hidden={"user_code": shown},
            act="/device",
            code=shown,
        )

    async def _device_decided(
        self, user_code: str, client: Client, person: Person, scopes: str, decision: str
    ) -> Answer:
        async def work(tx: Transaction) -> bool:
            grant = None
            if decision == "allow":
                grant = await self._oauth.allow(
                    tx, client_id=client.id, person=person.id, scopes=scopes.split(), signed_in_us=person.signed_in_us
                )
            return await self._oauth.devices.decide(tx, user_code, grant=grant)

        if not await self._oauth.db.run(work):
            return message_page(self.root, *_OVER)
        if decision == "allow":
            return message_page(self.root, "It is connected", "Your device goes on in a moment.", status=200)
        return message_page(self.root, "It is not connected", "Nothing was allowed.", status=200)

    async def apps(self, request: Request) -> Answer:
        """Show a person what they have allowed."""
        person = await self._oauth.people.signed_in(request.scope)
        if person is None:
            return redirect(self._oauth.people.sign_in(f"{self.root}/apps"))
        names = {client.id: client.name for client in await self._oauth.clients.all()}
        grants = await self._oauth.grants.of_person(person.id)
        shown = [(grant, names.get(grant.client_id, "An app that is gone")) for grant in grants]
        return apps_page(self.root, shown, self._oauth.settings.words)

    async def end_app(self, request: Request, said: Mapping[str, str]) -> Answer:
        """End what a person has allowed."""
        check_own_form(request, self._oauth.settings.issuer)
        person = await self._oauth.people.signed_in(request.scope)
        if person is not None:
            grant = await self._oauth.grants.find(self._oauth.db, said.get("grant", ""))
            if grant is not None and grant.person == person.id:
                await self._oauth.end_grant(grant.id, why="asked", who=person.id)
        return redirect(f"{self.root}/apps")


def _answer_goes_to(client: Client, said: Mapping[str, str]) -> str | None:
    """Return the redirect URI of a request; None: it is not one of the client's."""
    uri = said.get("redirect_uri")
    if uri is not None:
        return uri if client.fits(uri) else None
    return client.redirect_uris[0] if len(client.redirect_uris) == 1 else None


def check_own_form(request: Request, issuer: str) -> None:
    """Refuse a decision that does not come from our own page.

    Raises:
        OAuthError: A header says that it comes from elsewhere, or none says from where.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        raise OAuthError("invalid_request", "it is not said where this form comes from")
    if site not in {None, "same-origin"} or (origin is not None and not _is_own(origin, issuer)):
        raise OAuthError("invalid_request", "this form comes from another place")


def _is_own(origin: str, issuer: str) -> bool:
    """Whether pages of `origin` are ours. This machine has several names; which one is typed is all the same."""
    place = urlsplit(issuer)
    if origin == f"{place.scheme}://{place.netloc}":
        return True
    port = "" if place.port is None else f":{place.port}"
    return place.hostname in {*_NAMES, "::1"} and origin in {f"{place.scheme}://{name}{port}" for name in _NAMES}
