"""An OAuth 2.1 and OpenID Connect server: others act for people, for what these allow, for as long as they allow it.

    settings = OAuthSettings(issuer="https://shop.example/oauth", audience="shop-api", scopes={"orders:read": "…"})
    async with Database("sqlite:///oauth.db") as db, OAuth(db, settings, keys=ring, people=people) as oauth:
        made = await oauth.clients.register("Bookkeeper", redirect_uris=["https://books.example/back"], scopes=[…])
        app.mount("/oauth", OAuthApp(oauth))

Authorization code with PKCE, refresh tokens that rotate, client credentials, devices, exchange of tokens, consent,
revocation, introspection, metadata, userinfo, pushed requests. Not there: implicit, password, plain PKCE, wildcards.
"""

from archstone.security.oauth.app import OAuthApp
from archstone.security.oauth.clients import GRANTS, Client, Clients, NewClient, TooManyClientsError
from archstone.security.oauth.errors import OAuthError, OAuthFault
from archstone.security.oauth.grants import Grant
from archstone.security.oauth.people import People, Person
from archstone.security.oauth.server import OAuth
from archstone.security.oauth.settings import OIDC_SCOPES, OAuthSettings
from archstone.security.oauth.tables import OAUTH_SCHEMA

__all__ = [
    "GRANTS",
    "OAUTH_SCHEMA",
    "OIDC_SCOPES",
    "Client",
    "Clients",
    "Grant",
    "NewClient",
    "OAuth",
    "OAuthApp",
    "OAuthError",
    "OAuthFault",
    "OAuthSettings",
    "People",
    "Person",
    "TooManyClientsError",
]
