"""How an account is secured: an app for codes, backup codes, passkeys, and where one is signed in."""

from collections.abc import Awaitable
from dataclasses import replace
from urllib.parse import quote

from archstone import context
from archstone.systems.shop.users.proving import (
    FactorsError,
    NotProvedError,
    PasskeyRefusedError,
    TicketError,
    TooManyTriesError,
    WrongCodeError,
    WrongPasswordError,
)
from archstone.systems.shop.web.desk import Desk, as_pages
from archstone.systems.shop.web.exchange import Answer, Page, Redirect, Request
from archstone.systems.shop.web.forms import AppForm, Filled, NewPasskeyForm, ProofForm, checked
from archstone.systems.shop.web.pages.signin import NO_FAULT, next_of, patience

__all__ = [
    "add_app",
    "add_passkey",
    "app_form",
    "end_programs",
    "end_session",
    "passkey_form",
    "prove",
    "prove_form",
    "remove_app",
    "remove_passkey",
    "renew_codes",
    "security",
]

HERE = "/account/security"
_WRONG_CODE = "This code does not fit. Is the clock of the device right?"
_OVER = "This took too long, or was used already. Please begin again."


async def security(desk: Desk, request: Request) -> Answer:
    """Show how the account is secured."""
    return await _shown(desk, request, NO_FAULT)


async def prove_form(desk: Desk, request: Request) -> Answer:
    """Ask again for the password, and for a code where the account has an app."""
    return await _asked_proof(desk, request, NO_FAULT, status=200)


async def prove(desk: Desk, request: Request) -> Answer:
    """Let the session count as proved for a while."""
    form = checked(ProofForm, request.form)
    if isinstance(form, Filled):
        return await _asked_proof(desk, request, form, status=422)
    try:
        await desk.clients.factors.prove(form.password, form.code, request.mark)
    except WrongPasswordError:
        told = NO_FAULT.with_fault("password", "This is not your password.")
        return await _asked_proof(desk, request, told, status=422)
    except WrongCodeError:
        told = NO_FAULT.with_fault("code", "This code does not fit, was used before, or its time is over.")
        return await _asked_proof(desk, request, told, status=422)
    except TooManyTriesError as error:
        page = await _asked_proof(desk, request, NO_FAULT.with_fault("", patience(error)), status=429)
        return replace(page, retry_after_s=error.retry_after_s)
    return Redirect(to=next_of(request))


async def app_form(desk: Desk, request: Request) -> Answer:
    """Show what an app scans."""
    return await _offered(desk, request, NO_FAULT, status=200)


async def add_app(desk: Desk, request: Request) -> Answer:
    """Let an app make codes; show the backup codes, once."""
    form = checked(AppForm, request.form)
    if isinstance(form, Filled):
        return await _offered(desk, request, NO_FAULT.with_fault("", _OVER), status=422)
    try:
        codes = await desk.clients.factors.add_totp(form.offer, form.code, browser=request.mark)
    except WrongCodeError:
        # A new picture: the code may have been right for the last second of the old one.
        return await _offered(desk, request, NO_FAULT.with_fault("code", _WRONG_CODE), status=422)
    except TicketError:
        return await _offered(desk, request, NO_FAULT.with_fault("", _OVER), status=422)
    except TooManyTriesError as error:
        page = await _offered(desk, request, NO_FAULT.with_fault("", patience(error)), status=429)
        return replace(page, retry_after_s=error.retry_after_s)
    except NotProvedError:
        return _to_prove(f"{HERE}/app")
    return Page(template="codes.html", values={"codes": codes.codes, "first": True})


async def remove_app(desk: Desk, request: Request) -> Answer:
    """Ask for codes no more."""
    return await _changed(desk, request, desk.clients.factors.remove_totp(browser=request.mark), "unfactored")


async def renew_codes(desk: Desk, request: Request) -> Answer:
    """Make new backup codes, and show them, once."""
    try:
        codes = await desk.clients.factors.renew_codes(browser=request.mark)
    except FactorsError as error:
        return await _shown(desk, request, NO_FAULT.with_fault("", _sentence(error)))
    except NotProvedError:
        return _to_prove(HERE)
    return Page(template="codes.html", values={"codes": codes.codes, "first": False})


async def passkey_form(desk: Desk, request: Request) -> Answer:
    """Offer to make a passkey."""
    return await _asked_passkey(desk, request, NO_FAULT, status=200)


async def add_passkey(desk: Desk, request: Request) -> Answer:
    """Register a passkey."""
    form = checked(NewPasskeyForm, request.form)
    if isinstance(form, Filled):
        return await _asked_passkey(desk, request, form, status=422)
    try:
        await desk.clients.factors.add_passkey(form.ceremony, form.answer, form.name, browser=request.mark)
    except (TicketError, PasskeyRefusedError) as error:
        return await _asked_passkey(desk, request, NO_FAULT.with_fault("", _sentence(error)), status=422)
    except FactorsError as error:
        return await _shown(desk, request, NO_FAULT.with_fault("", _sentence(error)))
    except NotProvedError:
        return _to_prove(f"{HERE}/passkey")
    return Redirect(to=f"{HERE}?told=passkey")


async def remove_passkey(desk: Desk, request: Request) -> Answer:
    """Forget a passkey."""
    work = desk.clients.factors.remove_passkey(request.parts["passkey"], browser=request.mark)
    return await _changed(desk, request, work, "unpasskeyed")


async def end_session(desk: Desk, request: Request) -> Answer:
    """Sign another browser out."""
    mark = request.parts["mark"]
    if any(each.mark == mark for each in (await desk.clients.factors.security()).sessions):
        with context.enter(as_pages()):
            await desk.clients.browsers.end(mark)
    return Redirect(to="/" if mark == request.mark else f"{HERE}?told=ended-there")


async def end_programs(desk: Desk, request: Request) -> Answer:
    """End every API key, and all that apps may do."""
    if desk.programs is not None:
        await desk.programs.end_all(request.principal.id)
    return Redirect(to=f"{HERE}?told=no-programs")


async def _changed(desk: Desk, request: Request, work: Awaitable[None], told: str) -> Answer:
    try:
        await work
    except FactorsError as error:
        return await _shown(desk, request, NO_FAULT.with_fault("", _sentence(error)))
    except NotProvedError:
        return _to_prove(HERE)
    return Redirect(to=f"{HERE}?told={told}")


async def _shown(desk: Desk, request: Request, filled: Filled) -> Page:
    view = await desk.clients.factors.security()
    acting = None if desk.programs is None else await desk.programs.acting(request.principal.id)
    values = {"filled": filled, "security": view, "here_mark": request.mark, "acting": acting}
    return Page(template="security.html", values=values, status=422 if filled.faults else 200)


async def _offered(desk: Desk, request: Request, filled: Filled, *, status: int) -> Page:
    del request
    values = {"filled": filled, "offer": await desk.clients.factors.offer_totp()}
    return Page(template="app.html", values=values, status=status)


async def _asked_passkey(desk: Desk, request: Request, filled: Filled, *, status: int) -> Page:
    try:
        values = {"filled": filled, "ask": await desk.clients.factors.ask_new_passkey()}
    except FactorsError as error:
        return await _shown(desk, request, NO_FAULT.with_fault("", _sentence(error)))
    return Page(template="newpasskey.html", values=values, status=status)


async def _asked_proof(desk: Desk, request: Request, filled: Filled, *, status: int) -> Page:
    wants_code = (await desk.clients.factors.security()).totp
    values = {"filled": filled, "next": next_of(request), "wants_code": wants_code}
    return Page(template="prove.html", values=values, status=status)


def _to_prove(back: str) -> Redirect:
    return Redirect(to=f"/account/prove?next={quote(back)}")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
