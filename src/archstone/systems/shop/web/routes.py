"""Which page answers which path. The forms of the variable parts are those of the contracts."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Request
from archstone.systems.shop.web.pages import (
    account,
    admin,
    behind,
    browse,
    cart,
    checkout,
    emails,
    keys,
    orders,
    security,
    signin,
)
from archstone.systems.shop.web.pages.admin.data import Data

__all__ = ["Handler", "Route", "find"]

Handler = Callable[[Desk, Request], Awaitable[Answer | Data]]

_PARTS: Final = {
    "sku": "[A-Z0-9][A-Z0-9-]{2,19}",
    "category": "[a-z0-9][a-z0-9-]{0,39}",
    "order": "[0-9a-f]{32}",
    "user": "[0-9a-f]{32}",
    "refund": "[0-9a-f]{32}",
    "key": "[0-9a-f]{32}",
    "app": "[0-9a-f]{32}",
    "passkey": "[0-9a-f]{32}",
    "mark": "[0-9a-f]{64}",
}


class Route(NamedTuple):
    """A page."""

    method: str
    path: str
    handler: Handler
    signed_in: bool = False
    """Whether it is for those who have signed in only; others are asked to, and come back."""
    urgent: bool = False
    """Whether it may use the places that are kept free for what matters most."""
    proved: bool = False
    """Whether it is for those only who have proved within ten minutes who they are; others are asked to, and go on."""
    role: str | None = None
    """Who may see it, of those who have signed in. None: all of them."""


ROUTES: Final = (
    Route("GET", "/", browse.home),
    Route("GET", "/search", browse.search),
    Route("GET", "/suggestions", browse.suggestions),
    Route("GET", "/c/{category}", browse.category),
    Route("GET", "/p/{sku}", browse.product),
    Route("GET", "/cart", cart.show),
    Route("POST", "/cart/lines", cart.put),
    Route("POST", "/cart/clear", cart.clear),
    Route("GET", "/checkout", checkout.checkout, signed_in=True, urgent=True),
    Route("POST", "/checkout", checkout.place, signed_in=True, urgent=True),
    Route("GET", "/orders", orders.orders, signed_in=True),
    Route("GET", "/orders/{order}", orders.order, signed_in=True, urgent=True),
    Route("POST", "/orders/{order}/cancel", orders.cancel, signed_in=True),
    Route("POST", "/orders/{order}/again", orders.again, signed_in=True),
    Route("GET", "/behind", behind.behind),
    Route("GET", "/counter", behind.counter),
    Route("GET", "/orders/{order}/counter", behind.counter, signed_in=True),
    Route("POST", "/counter/kill", behind.kill, signed_in=True),
    Route("GET", "/account", account.account, signed_in=True),
    Route("POST", "/account/name", account.rename, signed_in=True),
    Route("POST", "/account/preferences", account.prefer, signed_in=True),
    Route("POST", "/account/password", account.change_password, signed_in=True),
    Route("GET", "/account/email", emails.ask_form, signed_in=True, proved=True),
    Route("POST", "/account/email", emails.ask, signed_in=True),
    Route("GET", "/account/delete", account.delete_form, signed_in=True),
    Route("POST", "/account/delete", account.delete, signed_in=True),
    Route("POST", "/account/sign-out-everywhere", account.logout_everywhere, signed_in=True),
    Route("GET", "/account/keys", keys.show, signed_in=True),
    Route("POST", "/account/keys", keys.make, signed_in=True, proved=True),
    Route("POST", "/account/keys/{key}/rotate", keys.rotate, signed_in=True, proved=True),
    Route("POST", "/account/keys/{key}/revoke", keys.revoke, signed_in=True),
    Route("GET", "/account/security", security.security, signed_in=True),
    Route("POST", "/account/security/programs/end", security.end_programs, signed_in=True, proved=True),
    Route("GET", "/account/prove", security.prove_form, signed_in=True),
    Route("POST", "/account/prove", security.prove, signed_in=True),
    Route("GET", "/account/security/app", security.app_form, signed_in=True, proved=True),
    Route("POST", "/account/security/app", security.add_app, signed_in=True),
    Route("POST", "/account/security/app/remove", security.remove_app, signed_in=True),
    Route("POST", "/account/security/codes", security.renew_codes, signed_in=True),
    Route("GET", "/account/security/passkey", security.passkey_form, signed_in=True, proved=True),
    Route("POST", "/account/security/passkey", security.add_passkey, signed_in=True),
    Route("POST", "/account/security/passkeys/{passkey}/remove", security.remove_passkey, signed_in=True),
    Route("POST", "/account/security/sessions/{mark}/end", security.end_session, signed_in=True, proved=True),
    Route("GET", "/login", signin.login_form),
    Route("POST", "/login", signin.login),
    Route("POST", "/login/code", signin.code),
    Route("GET", "/login/passkey", signin.passkey_form),
    Route("POST", "/login/passkey", signin.passkey),
    Route("GET", "/forgot", signin.forgot_form),
    Route("POST", "/forgot", signin.forgot),
    Route("GET", "/reset", signin.reset_form),
    Route("POST", "/reset", signin.reset),
    Route("GET", "/email-change", emails.confirm_form),
    Route("POST", "/email-change", emails.confirm),
    Route("GET", "/email-undo", emails.undo_form),
    Route("POST", "/email-undo", emails.undo),
    Route("GET", "/register", account.register_form),
    Route("POST", "/register", account.register),
    Route("POST", "/register/mail", account.ask_sign_up),
    Route("GET", "/sign-up", account.sign_up_form),
    Route("POST", "/sign-up", account.sign_up),
    Route("POST", "/logout", account.logout),
    # An administrator comes when the shop is full.
    *(Route(*each, signed_in=True, urgent=True, role="admin", proved=each[0] == "POST") for each in admin.PAGES),
)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", lambda hole: f"(?P<{hole[1]}>{_PARTS[hole[1]]})", path))


def _table() -> Mapping[str, tuple[re.Pattern[str], Mapping[str, Route]]]:
    found: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
    for route in ROUTES:
        found.setdefault(route.path, (_pattern(route.path), {}))[1][route.method] = route
    return found


_TABLE: Final = tuple(_table().values())


def find(path: str) -> tuple[Mapping[str, Route], Mapping[str, str]] | None:
    """Return the routes of a path by method, and the variable parts of the path. None: there is no such page."""
    for pattern, routes in _TABLE:
        if (match := pattern.fullmatch(path)) is not None:
            return routes, match.groupdict()
    return None
