"""API keys and the OAuth server of the shop, with a database of their own, and whom the front door believes.

A program never gets more than the role `customer`, whoever allowed it, and of that only what its scopes say: what an
administrator may do, one does oneself.
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from archstone import context, world
from archstone.context import Call, Principal
from archstone.data import Database
from archstone.gateway import Verify
from archstone.resilience import SharedState
from archstone.security import (
    ApiKeyError,
    ApiKeys,
    Audits,
    KeyRing,
    OAuth,
    OAuthSettings,
    Person,
    SigningKeys,
    TokenError,
)
from archstone.systems.shop.users.contract import (
    BrowserSessions,
    SessionEndedError,
    User,
    UserAdmin,
    UserUnknownError,
    browser_mark,
)
from archstone.systems.shop.web.cookies import SESSION, cookies_of

__all__ = ["SCOPES", "Programs", "ShopPeople"]

SCOPES: Final[Mapping[str, str]] = {
    "orders:read": "See your orders and how they go",
    "orders:place": "Order in your name",
    "orders:cancel": "Cancel your orders",
    "account:read": "See your name, your address of mail and how you like the shop",
    "carts:read": "See your cart",
    "carts:write": "Put things into your cart and take them out",
}
"""What programs may be given, by the scopes of the shop's operations. Changing the account is not among it."""

PREFIX: Final = "ask_"
_CLIENT: Final = "client:"
"""How a program is called that acts for itself."""
_ASKING_S: Final = 10.0
_ROLES: Final = frozenset({"customer"})
_PAGES: Final = Principal("service:pages", frozenset({"service"}))
_LOOKING: Final = Principal("service:programs", frozenset({"service", "admin"}))


class ShopPeople:
    """Who is signed in with a browser, and who still has an account. The services are known once the door is built."""

    def __init__(self) -> None:
        self._browsers: BrowserSessions | None = None
        self._users: UserAdmin | None = None

    def connect(self, browsers: BrowserSessions, users: UserAdmin) -> None:
        """Ask these from now on."""
        self._browsers, self._users = browsers, users

    async def signed_in(self, scope: Mapping[str, Any]) -> Person | None:
        """Return whose session the cookie of a request names. None: nobody's."""
        token = cookies_of(scope["headers"], https=scope.get("scheme") == "https").get(SESSION)
        if token is None or self._browsers is None:
            return None
        with context.enter(_call(_PAGES)):
            try:
                return _person((await self._browsers.visitor(browser_mark(token))).user)
            except SessionEndedError:
                return None

    async def find(self, person_id: str) -> Person | None:
        """Return who has this account and may sign in. None: nobody."""
        if self._users is None:
            return None
        with context.enter(_call(_LOOKING)):
            try:
                user = await self._users.user(person_id)
            except (UserUnknownError, ValueError):
                return None
        return _person(user) if user.active and not user.deleted else None

    def sign_in(self, back: str) -> str:
        """Return the shop's own sign-in page."""
        return f"/login?next={quote(back, safe='/')}"


class Programs:
    """Made by the shop's provider; open while the shop runs."""

    def __init__(
        self,
        db: Database,
        *,
        pepper: SigningKeys,
        ring: Callable[[], KeyRing],
        issuer: str,
        api: str,
        audits: Audits | None = None,
        shared: SharedState | None = None,
    ) -> None:
        """Take what it needs; nothing is read or written.

        Args:
            db: Its own database.
            pepper: What API keys are hashed with.
            ring: Gives the keys that sign; asked again each half hour, since they are renewed.
            issuer: Address of the OAuth server.
            api: Name of the API, as tokens have it.
            audits: Where what programs are given, and what they are refused, is recorded. None: nowhere.
            shared: Where requests are counted for all processes. None: in this one.
        """
        self.db = db
        self.people = ShopPeople()
        settings = OAuthSettings(
            issuer=issuer, audience=api, scopes=SCOPES, roles=_ROLES, refresh_list_s=15.0, stale_list_s=60.0
        )
        audit = None if audits is None else audits.of(db, "programs")
        self.keys = ApiKeys(db, pepper=pepper, audit=audit)
        self.oauth = OAuth(db, settings, keys=ring(), people=self.people, renew=ring, audit=audit, shared=shared)
        self._life = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            for each in (self.db, self.keys, self.oauth):
                await opening.enter_async_context(each)
            self._life = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._life.aclose()

    def verify(self, otherwise: Verify) -> Verify:
        """Return whom the front door believes: API keys and tokens of the OAuth server, `otherwise` the rest."""

        def verify(text: str) -> Any:
            if text.startswith(PREFIX):
                return self._by_key(text)
            if self.oauth.tokens.knows(text):
                return self._by_token(text)
            return otherwise(text)

        return verify

    async def acting(self, person: str) -> tuple[int, int]:
        """Return how many API keys of somebody are good, and how many consents to apps stand; 200 of these at most."""
        keys = sum(each.stands for each in await self.keys.keys_of(person))
        return keys, len(await self.oauth.grants.of_person(person))

    async def end_all(self, person: str) -> None:
        """End every API key of somebody, and all that they have allowed apps. At once, in every process."""
        await self.keys.revoke_all(person)
        await self.oauth.end_person(person)

    async def _by_key(self, text: str) -> Principal:
        key = await self.keys.verify(text)
        # An account that was closed has no keys that open anything.
        if await self.people.find(key.owner) is None:
            await self.keys.revoke_all(key.owner)
            raise ApiKeyError("revoked")
        return key.principal(_ROLES)

    async def _by_token(self, text: str) -> Principal:
        principal = self.oauth.tokens.verify(text).principal
        # As with keys: the token was good, and whoever allowed it may be gone since.
        if not principal.id.startswith(_CLIENT) and await self.people.find(principal.id) is None:
            await self.oauth.end_person(principal.id)
            raise TokenError("whoever allowed it is not there any more")
        return principal


def _person(user: User) -> Person:
    told = {"profile": {"name": user.name}, "email": {"email": user.email, "email_verified": False}}
    return Person(id=user.id, name=user.name, roles=frozenset(user.roles), claims=told)


def _call(who: Principal) -> Call:
    return Call(principal=who, deadline_s=world.monotonic() + _ASKING_S, correlation_id=world.new_id())
