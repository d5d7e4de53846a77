"""Apps of others: which may ask customers to let them act in their name. Registered and removed here."""

from archstone.errors import ConfigError
from archstone.security import NewClient, TooManyClientsError
from archstone.systems.shop.programs.programs import SCOPES, Programs
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request
from archstone.systems.shop.web.forms import Filled, shown_again
from archstone.systems.shop.web.pages.admin.forms import AppForm, read
from archstone.systems.shop.web.pages.admin.frame import framed, is_sure, sure, written_down

__all__ = ["apps", "register", "remove", "rotate"]

_HERE = "/admin/apps"
_OPENID = ("openid", "profile", "email")


async def apps(desk: Desk, request: Request) -> Answer:
    """List the apps that are registered."""
    return await _page(_programs(desk), request, Filled())


async def register(desk: Desk, request: Request) -> Answer:
    """Register an app, and show its secret this once."""
    programs, form = _programs(desk), read(AppForm, request.form)
    if isinstance(form, Filled):
        return await _page(programs, request, form)
    chosen = [name for name in SCOPES if request.form.get(f"may-{name}")]
    try:
        made = await programs.oauth.clients.register(
            form.name,
            redirect_uris=form.redirect_uris.split(),
            grant_types=("authorization_code", "refresh_token"),
            scopes=(*_OPENID, *chosen),
            confidential=form.kind == "server",
        )
    except (ConfigError, TooManyClientsError) as error:
        return await _page(programs, request, Filled(shown_again(request.form), {"": f"{error}."}))
    written_down(request, "app registered", client=made.client.id)
    return await _page(programs, request, Filled(), made=made)


async def rotate(desk: Desk, request: Request) -> Answer:
    """Give an app another secret; the last one is good for a day more."""
    programs = _programs(desk)
    made = await programs.oauth.clients.rotate_secret(request.parts["app"])
    if made is None:
        raise PageMissingError
    written_down(request, "secret of an app changed", client=made.client.id)
    return await _page(programs, request, Filled(), made=made)


async def remove(desk: Desk, request: Request) -> Answer:
    """Remove an app, after a question: all that it was given ends."""
    programs = _programs(desk)
    client = await programs.oauth.clients.find(request.parts["app"])
    if client is None:
        raise PageMissingError
    if not is_sure(request):
        return sure(
            request, title=f"Remove {client.name}?", label="Remove it", back=_HERE,
            text="It can act for nobody any more, at once. Registered again it has to ask everybody anew.",
        )  # fmt: skip
    await programs.oauth.end_client(client.id)
    written_down(request, "app removed", client=client.id)
    return Redirect(to=f"{_HERE}?told=app-removed")


def _programs(desk: Desk) -> Programs:
    if desk.programs is None:
        raise PageMissingError
    return desk.programs


async def _page(programs: Programs, request: Request, filled: Filled, *, made: NewClient | None = None) -> Page:
    values = {
        "filled": filled,
        "clients": await programs.oauth.clients.all(),
        "made": made,
        "scopes": SCOPES,
        "issuer": programs.oauth.settings.issuer,
    }
    return framed(request, "apps", values, status=422 if filled.faults else 200)
