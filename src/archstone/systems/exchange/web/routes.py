"""Which page answers which path."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from archstone.systems.exchange.web.asking import Answer, Hall, Request
from archstone.systems.exchange.web.pages import account, engine, markets, orders, risk, signin, statement, trading

__all__ = ["Handler", "Route", "find"]

Handler = Callable[[Hall, Request], Awaitable[Answer]]

_PARTS: Final = {"symbol": "[A-Z][A-Z0-9-]{0,11}", "key": "[0-9a-f]{32}", "account": "[1-9][0-9]{0,9}"}


class Route(NamedTuple):
    """A page."""

    method: str
    path: str
    handler: Handler
    signed_in: bool = False
    """Whether it is for those who have signed in only; others are asked to, and come back."""
    requires: str | None = None
    """The permission that it needs. None: none."""
    urgent: bool = False
    """Whether it may use the places that are kept free for what matters most."""


ROUTES: Final = (
    Route("GET", "/", markets.overview),
    Route("GET", "/trade/{symbol}", trading.show),
    Route("POST", "/trade/{symbol}/orders", trading.place, signed_in=True),
    Route("POST", "/trade/{symbol}/cancel", trading.cancel, signed_in=True, urgent=True),
    Route("POST", "/trade/{symbol}/cancel-all", trading.cancel_all, signed_in=True, urgent=True),
    Route("GET", "/orders", orders.show, signed_in=True),
    Route("GET", "/statement", statement.show, signed_in=True),
    Route("GET", "/engine", engine.show),
    Route("POST", "/trial", signin.trial),
    Route("GET", "/login", signin.login_form),
    Route("POST", "/login", signin.login),
    Route("GET", "/register", signin.register_form),
    Route("POST", "/register", signin.register),
    Route("POST", "/logout", signin.logout),
    Route("POST", "/theme", account.theme),
    Route("GET", "/account", account.show, signed_in=True),
    Route("POST", "/account/password", account.change_password, signed_in=True),
    Route("POST", "/account/sign-out", account.sign_out, signed_in=True),
    Route("POST", "/account/keys", account.make_key, signed_in=True),
    Route("POST", "/account/keys/{key}/end", account.end_key, signed_in=True),
    # Who watches over risk comes when the exchange is full.
    Route("GET", "/risk", risk.show, signed_in=True, requires="risk:read", urgent=True),
    Route("GET", "/risk/accounts/{account}", risk.account, signed_in=True, requires="risk:read", urgent=True),
    *(
        Route("POST", path, handler, signed_in=True, requires="risk:write", urgent=True)
        for path, handler in (
            ("/risk/accounts/{account}/limits", risk.set_limit),
            ("/risk/accounts/{account}/kill", risk.kill),
            ("/risk/kill", risk.kill_all),
            ("/risk/phase", risk.enter),
        )
    ),
)


def _table() -> tuple[tuple[re.Pattern[str], dict[str, Route]], ...]:
    found: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
    for route in ROUTES:
        pattern = re.sub(r"\{(\w+)\}", lambda hole: f"(?P<{hole[1]}>{_PARTS[hole[1]]})", route.path)
        found.setdefault(route.path, (re.compile(pattern), {}))[1][route.method] = route
    return tuple(found.values())


_TABLE: Final = _table()


def find(path: str) -> tuple[Mapping[str, Route], Mapping[str, str]] | None:
    """Return the routes of a path by method, and the variable parts of the path. None: there is no such page."""
    for pattern, routes in _TABLE:
        if (match := pattern.fullmatch(path)) is not None:
            return routes, match.groupdict()
    return None
