"""Another address of mail: asked for in the account, confirmed and undone by the links of mails."""

from dataclasses import replace
from urllib.parse import quote

from archstone.security import HostCookie
from archstone.systems.shop.users.contract import EmailTakenError
from archstone.systems.shop.users.proving import (
    NotProvedError,
    TicketError,
    TooManyTriesError,
    WeakPasswordError,
    WrongCodeError,
)
from archstone.systems.shop.web.cookies import SESSION
from archstone.systems.shop.web.desk import Desk
from archstone.systems.shop.web.exchange import Answer, Page, Redirect, Request
from archstone.systems.shop.web.forms import EmailForm, Filled, ResetForm, TicketForm, checked
from archstone.systems.shop.web.pages.signin import NO_FAULT, patience

__all__ = ["ask", "ask_form", "confirm", "confirm_form", "undo", "undo_form"]

_OVER = "This link was used, is too old, or was meant for what has changed since. Nothing was done."
_TAKEN = "Another account has this address by now. Nothing was done."
_WRONG_CODE = "This code does not fit, was used before, or its time is over."


async def ask_form(desk: Desk, request: Request) -> Answer:
    """Ask for the new address."""
    del desk, request
    return _asked(NO_FAULT)


async def ask(desk: Desk, request: Request) -> Answer:
    """Have a link sent to the new address. What is answered does not tell whether somebody has it."""
    form = checked(EmailForm, request.form)
    if isinstance(form, Filled):
        return _asked(form)
    try:
        await desk.clients.emails.ask_email(form.email, browser=request.mark)
    except NotProvedError:
        return Redirect(to=f"/account/prove?next={quote('/account/email')}&told=prove")
    except TooManyTriesError as error:
        page = replace(_asked(NO_FAULT.with_fault("", patience(error))), status=429)
        return replace(page, retry_after_s=error.retry_after_s)
    return Redirect(to="/account?told=email-asked")


async def confirm_form(desk: Desk, request: Request) -> Answer:
    """Show a button: programs that look through mails open links, and press none."""
    del desk
    return _to_confirm(request.query.get("ticket", ""), NO_FAULT)


async def confirm(desk: Desk, request: Request) -> Answer:
    """Let the account have the new address."""
    form = checked(TicketForm, request.form)
    if isinstance(form, Filled):
        return _to_confirm("", NO_FAULT.with_fault("", _OVER))
    try:
        await desk.clients.emails.confirm_email(form.ticket)
    except EmailTakenError:
        return _to_confirm("", NO_FAULT.with_fault("", _TAKEN))
    except TicketError:
        return _to_confirm("", NO_FAULT.with_fault("", _OVER))
    return Redirect(to="/login?told=email-changed", cookies=(HostCookie(SESSION, ""),))


async def undo_form(desk: Desk, request: Request) -> Answer:
    """Ask for another password, for whoever has the link of the mail to the old address."""
    del desk
    return _to_undo(request.query.get("ticket", ""), NO_FAULT)


async def undo(desk: Desk, request: Request) -> Answer:
    """Take the account back to its old address."""
    form, ticket = checked(ResetForm, request.form), request.form.get("ticket", "")
    if isinstance(form, Filled):
        return _to_undo(ticket, form)
    try:
        await desk.clients.emails.undo_email(form.ticket, form.new, form.code)
    except WeakPasswordError as error:
        told = f"This password {error.reason}. Please choose another."
        return _to_undo(ticket, NO_FAULT.with_fault("new", told))
    except WrongCodeError:
        return _to_undo(ticket, NO_FAULT.with_fault("code", _WRONG_CODE))
    except TooManyTriesError as error:
        page = replace(_to_undo(ticket, NO_FAULT.with_fault("", patience(error))), status=429)
        return replace(page, retry_after_s=error.retry_after_s)
    except TicketError:
        return _to_undo("", NO_FAULT.with_fault("", _OVER))
    return Redirect(to="/login?told=email-undone", cookies=(HostCookie(SESSION, ""),))


def _asked(filled: Filled) -> Page:
    return Page(template="email.html", values={"filled": filled}, status=422 if filled.faults else 200)


def _to_confirm(ticket: str, filled: Filled) -> Page:
    values = {"filled": filled, "ticket": ticket[:2_000]}
    return Page(template="emailconfirm.html", values=values, status=422 if filled.faults else 200)


def _to_undo(ticket: str, filled: Filled) -> Page:
    values = {"filled": filled, "ticket": ticket[:2_000]}
    return Page(template="emailundo.html", values=values, status=422 if filled.faults else 200)
