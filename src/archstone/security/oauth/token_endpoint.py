"""Where clients get tokens: five grant types, and asking about and ending what was given.

A client proves who it is by its secret, in the header or in the body, never both; a public one says who it is, and
proves by the verifier of its code that it is the one who asked.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from archstone import world
from archstone.context import Principal
from archstone.security.claims import Claims
from archstone.security.errors import RefreshTokenError, TokenError
from archstone.security.oauth.asking import wanted_scopes
from archstone.security.oauth.clients import CODE, DEVICE, EXCHANGE, OWN, REFRESH, Client
from archstone.security.oauth.errors import OAuthError, OAuthFault
from archstone.security.oauth.grants import Grant
from archstone.security.oauth.http import Request, basic_credentials
from archstone.security.oauth.people import Person
from archstone.security.oauth.server import OAuth
from archstone.security.oauth.settings import OIDC_SCOPES
from archstone.security.oauth.tables import MICROS

__all__ = ["TokenEndpoint"]

ACCESS_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"

Said = Mapping[str, str]
Answered = dict[str, Any]

_TOLD: Final[dict[str, tuple[OAuthFault, str]]] = {
    "waiting": ("authorization_pending", "its person has not decided yet"),
    "too_fast": ("slow_down", "five seconds more between two questions"),
    "denied": ("access_denied", "its person said no"),
    "expired": ("expired_token", "its person did not come in time"),
    "unknown": ("invalid_grant", "there is no such device code"),
}


class TokenEndpoint:
    """Answers `/token`, `/introspect` and `/revoke`."""

    def __init__(self, oauth: OAuth) -> None:
        self._oauth = oauth
        self._ways: Mapping[str, Callable[[Client, Said], Awaitable[Answered]]] = {
            CODE: self._by_code,
            REFRESH: self._by_refresh,
            OWN: self._for_itself,
            DEVICE: self._for_device,
            EXCHANGE: self._by_exchange,
        }

    async def client_of(self, request: Request, said: Said) -> Client:
        """Return who asks.

        Raises:
            OAuthError: Nobody who can be known.
            RateLimitedError: Too many wrong secrets came from this address.
        """
        basic = basic_credentials(request)
        client_id, secret = basic if basic is not None else (said.get("client_id"), said.get("client_secret"))
        if basic is not None and ("client_secret" in said or said.get("client_id", client_id) != client_id):
            raise OAuthError("invalid_request", "say who you are in one way only")
        if client_id is None:
            raise OAuthError("invalid_client", "no client said who it is")
        if secret:
            client = await self._oauth.clients.proven(client_id, secret)
        else:
            client = await self._oauth.clients.find(client_id)
            client = None if client is None or client.confidential else client
        if client is None:
            await self._oauth.guessing.turn(f"address:{request.address}")
            if secret:
                self._oauth.refused("oauth.client-refused", subject=client_id, client_id="")
            raise OAuthError("invalid_client", "there is no such client, or this is not its secret")
        return client

    async def token(self, request: Request, said: Said) -> Answered:
        """Give tokens (RFC 6749, section 5)."""
        client = await self.client_of(request, said)
        wanted = said.get("grant_type", "")
        way = self._ways.get(wanted)
        if way is None:
            raise OAuthError("unsupported_grant_type", "this grant type is not known")
        if wanted not in client.grant_types:
            raise OAuthError("unauthorized_client", "this client may not use this grant type")
        return await way(client, said)

    async def _by_code(self, client: Client, said: Said) -> Answered:
        oauth = self._oauth
        redeem = partial(
            oauth.grants.redeem,
            code=said.get("code", ""),
            client_id=client.id,
            redirect_uri=said.get("redirect_uri"),
            verifier=said.get("code_verifier", ""),
        )
        redeemed = await oauth.db.run(redeem)
        if redeemed.outcome in {"reused", "wrong"}:
            # Somebody has a code that is not theirs, or two have the same: nothing of it stays.
            oauth.refused(f"oauth.code-{redeemed.outcome}", subject=redeemed.grant, client_id=client.id)
            await oauth.end_grant(redeemed.grant, why="code")
        if redeemed.outcome != "good":
            raise OAuthError(
                "invalid_grant", "this code is not good: unknown, used, over, or not made for this request"
            )
        return await self._for_grant(client, redeemed.grant, nonce=redeemed.nonce)

    async def _for_device(self, client: Client, said: Said) -> Answered:
        poll = partial(self._oauth.devices.poll, device_code=said.get("device_code", ""), client_id=client.id)
        polled = await self._oauth.db.run(poll)
        if polled.outcome != "allowed":
            raise OAuthError(*_TOLD[polled.outcome])
        return await self._for_grant(client, polled.grant, nonce=None)

    async def _for_grant(self, client: Client, grant_id: str, *, nonce: str | None) -> Answered:
        """Give the first tokens of a grant."""
        oauth = self._oauth
        grant, person = await self._standing(client, grant_id)
        scopes = grant.scopes.split()
        refresh = None
        if REFRESH in client.grant_types:
            refresh = (await oauth.db.run(partial(oauth.refresh.issue, grant.person, family=grant.id))).text
        answer = self._given(client, grant, person, scopes, refresh)
        if "openid" in scopes:
            answer["id_token"] = oauth.id_token(
                person,
                client_id=client.id,
                nonce=nonce,
                signed_in_us=grant.signed_in_us,
                access=answer["access_token"],
            )
        return answer

    async def _by_refresh(self, client: Client, said: Said) -> Answered:
        oauth, token = self._oauth, said.get("refresh_token", "")
        known = await oauth.refresh.look(token, oauth.db)
        grant, person = await self._standing(client, "" if known is None else known.family)
        scopes = _narrowed(said.get("scope"), frozenset(grant.scopes.split()))
        try:
            rotated = await oauth.db.run(partial(oauth.refresh.rotate, token))
        except RefreshTokenError as error:
            if error.fault == "reused":
                oauth.refused("oauth.refresh-token-reused", subject=grant.id, client_id=client.id)
                await oauth.end_grant(grant.id, why="refresh")
            raise OAuthError(
                "invalid_grant", "this refresh token is not good: unknown, used, over or revoked"
            ) from None
        return self._given(client, grant, person, scopes, rotated.token.text)

    async def _standing(self, client: Client, grant_id: str) -> tuple[Grant, Person]:
        """Return a grant of this client that stands, and its person, who is still there."""
        oauth = self._oauth
        grant = await oauth.grants.find(oauth.db, grant_id)
        if grant is None or grant.client_id != client.id or not grant.stands:
            raise OAuthError("invalid_grant", "this is not good: unknown, used, over or revoked")
        person = await oauth.people.find(grant.person)
        if person is None:
            await oauth.end_grant(grant.id, why="person")
            raise OAuthError("invalid_grant", "whoever allowed this is not there any more")
        return grant, person

    def _given(
        self, client: Client, grant: Grant, person: Person, scopes: "list[str] | tuple[str, ...]", refresh: str | None
    ) -> Answered:
        access = self._oauth.access_token(person, scopes, client_id=client.id, grant=grant.id)
        answer: Answered = {
            "access_token": access.text,
            "token_type": "Bearer",
            "expires_in": access.expires_in_s,
            "scope": " ".join(scopes),
        }
        if refresh is not None:
            answer["refresh_token"] = refresh
        return answer

    async def _for_itself(self, client: Client, said: Said) -> Answered:
        scopes = wanted_scopes(
            client, said.get("scope") or " ".join(client.scopes - OIDC_SCOPES.keys()), self._oauth.settings
        )
        if OIDC_SCOPES.keys() & set(scopes):
            raise OAuthError("invalid_scope", "a program is nobody of whom one could know something")
        access = self._oauth.tokens.issue(Principal(f"client:{client.id}"), scopes=scopes, client_id=client.id)
        return {
            "access_token": access.text,
            "token_type": "Bearer",
            "expires_in": access.expires_in_s,
            "scope": " ".join(scopes),
        }

    async def _by_exchange(self, client: Client, said: Said) -> Answered:
        """Give a token for less than another one, to act for the same person (RFC 8693)."""
        oauth = self._oauth
        claims = self._subject(said)
        audience = said.get("audience", oauth.settings.audience)
        if "resource" in said or audience not in {oauth.settings.audience, *client.audiences}:
            raise OAuthError("invalid_target", "this client may not ask for tokens for that audience")
        may = (claims.principal.scopes or frozenset[str]()) & client.scopes
        scopes = _narrowed(said.get("scope"), may)
        left_s = (claims.expires_us - world.now_us()) // MICROS
        access = oauth.tokens.issue(
            claims.principal,
            scopes=scopes,
            audience=audience,
            lifetime_s=max(1, min(oauth.settings.access_s, left_s)),
            client_id=client.id,
            grant=claims.grant,
            actor=client.id,
        )
        return {
            "access_token": access.text,
            "issued_token_type": ACCESS_TYPE,
            "token_type": "Bearer",
            "expires_in": access.expires_in_s,
            "scope": " ".join(scopes),
        }

    def _subject(self, said: Said) -> Claims:
        if said.get("subject_token_type") != ACCESS_TYPE or "actor_token" in said:
            raise OAuthError("invalid_request", "subject_token must be an access token, and there is no actor_token")
        if said.get("requested_token_type", ACCESS_TYPE) != ACCESS_TYPE:
            raise OAuthError("invalid_request", "only access tokens are given")
        try:
            claims = self._oauth.tokens.verify(said.get("subject_token", ""))
        except TokenError:
            raise OAuthError("invalid_request", "subject_token is not good") from None
        if claims.actor or claims.principal.scopes is None:
            raise OAuthError("invalid_request", "a token that was exchanged is not exchanged again")
        return claims

    async def introspect(self, request: Request, said: Said) -> Answered:
        """Tell what a token is (RFC 7662): to the client that has it, or to one that may ask about all."""
        client = await self.client_of(request, said)
        if not client.confidential:
            raise OAuthError("invalid_client", "only clients with a secret may ask about tokens")
        token = said.get("token", "")
        try:
            claims = self._oauth.tokens.verify(token)
        except TokenError:
            return await self._refresh_told(client, token)
        if not client.introspects and claims.client_id != client.id:
            return {"active": False}
        return {
            "active": True,
            "token_type": "Bearer",
            "scope": " ".join(sorted(claims.principal.scopes or ())),
            "client_id": claims.client_id,
            "sub": claims.principal.id,
            "aud": self._oauth.settings.audience,
            "iss": self._oauth.settings.issuer,
            "jti": claims.token_id,
            "iat": claims.issued_us // MICROS,
            "exp": claims.expires_us // MICROS,
            **({"act": {"sub": claims.actor}} if claims.actor else {}),
        }

    async def _refresh_told(self, client: Client, token: str) -> Answered:
        oauth = self._oauth
        known = await oauth.refresh.look(token, oauth.db)
        grant = None if known is None else await oauth.grants.find(oauth.db, known.family)
        if known is None or grant is None or not known.good or not grant.stands or grant.client_id != client.id:
            return {"active": False}
        return {
            "active": True,
            "token_type": "refresh_token",
            "scope": grant.scopes,
            "client_id": grant.client_id,
            "sub": grant.person,
            "iss": oauth.settings.issuer,
            "exp": known.expires_us // MICROS,
        }

    async def revoke(self, request: Request, said: Said) -> None:
        """End a token of the client that asks (RFC 7009). A refresh token ends all that its consent gave.

        What is unknown, over, or another client's counts as ended: nobody learns which it was.
        """
        oauth, client = self._oauth, await self.client_of(request, said)
        token = said.get("token", "")
        if not token:
            raise OAuthError("invalid_request", "there is no token to revoke")
        known = await oauth.refresh.look(token, oauth.db)
        if known is not None:
            grant = await oauth.grants.find(oauth.db, known.family)
            if grant is not None and grant.client_id == client.id:
                await oauth.end_grant(grant.id, why="revoked", who=f"client:{client.id}")
            return
        try:
            claims = oauth.tokens.verify(token)
        except TokenError:
            return
        if claims.client_id == client.id:
            await oauth.revocations.revoke(claims)


def _narrowed(scope: str | None, may: frozenset[str]) -> tuple[str, ...]:
    """Return the scopes that are asked for, of those that there may be; without any, all of these."""
    wanted = tuple(dict.fromkeys((scope or " ".join(sorted(may))).split()))
    if not wanted or not may.issuperset(wanted):
        raise OAuthError("invalid_scope", "more is asked for than there was")
    return wanted
