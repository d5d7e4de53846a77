"""Registering, signing out, and the account."""

from dataclasses import replace

from archstone import context
from archstone.security import HostCookie
from archstone.systems.shop.users.contract import EmailTakenError, LastAdminError, SignUpByMailError
from archstone.systems.shop.users.proving import TicketError, TooManyTriesError, WeakPasswordError, WrongPasswordError
from archstone.systems.shop.web.cookies import CART, SESSION
from archstone.systems.shop.web.desk import Desk, as_pages
from archstone.systems.shop.web.exchange import Answer, Page, Redirect, Request
from archstone.systems.shop.web.forms import (
    DeletionForm,
    EmailForm,
    Filled,
    NameForm,
    PasswordForm,
    PreferencesForm,
    RegisterForm,
    SignUpForm,
    checked,
    shown_again,
)
from archstone.systems.shop.web.pages.signin import NO_FAULT, asked, next_of, patience, signed_in

__all__ = [
    "account",
    "ask_sign_up",
    "change_password",
    "delete",
    "delete_form",
    "logout",
    "logout_everywhere",
    "prefer",
    "register",
    "register_form",
    "rename",
    "sign_up",
    "sign_up_form",
]


async def register_form(desk: Desk, request: Request) -> Answer:
    """Ask for what an account needs."""
    if request.visitor is not None:
        return Redirect(to=next_of(request))
    return await _joining(desk, request)


async def register(desk: Desk, request: Request) -> Answer:
    """Make an account and sign in with it."""
    form = checked(RegisterForm, request.form)
    if isinstance(form, Filled):
        return asked("register.html", request, form, status=422)
    again = Filled(shown_again(request.form))
    try:
        await desk.clients.users.register(form.email, form.password, form.name)
        return await signed_in(desk, request, form.email, form.password)
    except EmailTakenError:
        told = "There is an account with this address already. Please sign in."
        return asked("register.html", request, again.with_fault("email", told), status=409)
    except WeakPasswordError as error:
        told = f"This password {error.reason}. Please choose another."
        return asked("register.html", request, again.with_fault("password", told), status=422)
    except TooManyTriesError as error:
        page = asked("register.html", request, again.with_fault("", patience(error)), status=429)
        return replace(page, retry_after_s=error.retry_after_s)
    except SignUpByMailError:
        return await _joining(desk, request)


async def ask_sign_up(desk: Desk, request: Request) -> Answer:
    """Have a mail sent. What is answered does not tell whether there is an account."""
    form = checked(EmailForm, request.form)
    if isinstance(form, Filled):
        return asked("registermail.html", request, form, status=422)
    try:
        await desk.clients.sign_ups.ask_sign_up(form.email)
    except TooManyTriesError as error:
        page = asked("registermail.html", request, NO_FAULT.with_fault("", patience(error)), status=429)
        return replace(page, retry_after_s=error.retry_after_s)
    return Redirect(to="/login?told=sign-up")


async def sign_up_form(desk: Desk, request: Request) -> Answer:
    """Ask for the rest, whoever has the link of a mail."""
    del desk
    return _signing_up(request.query.get("ticket", ""), NO_FAULT)


async def sign_up(desk: Desk, request: Request) -> Answer:
    """Make an account and sign in with it."""
    form, ticket = checked(SignUpForm, request.form), request.form.get("ticket", "")
    if isinstance(form, Filled):
        return _signing_up(ticket, form)
    again = Filled(shown_again(request.form))
    try:
        user = await desk.clients.sign_ups.sign_up(form.ticket, form.password, form.name)
        return await signed_in(desk, request, user.email, form.password)
    except WeakPasswordError as error:
        return _signing_up(
            ticket, again.with_fault("password", f"This password {error.reason}. Please choose another.")
        )
    except (TicketError, EmailTakenError):
        told = "This link was used, or is older than an hour. Please sign in, or ask for another."
        return _signing_up("", NO_FAULT.with_fault("", told))


async def logout(desk: Desk, request: Request) -> Answer:
    """Sign out of this browser. The cart stays with the account."""
    if request.mark is not None:
        with context.enter(as_pages()):
            await desk.clients.browsers.end(request.mark)
    return Redirect(to="/?told=left", cookies=(HostCookie(SESSION, ""),))


async def logout_everywhere(desk: Desk, request: Request) -> Answer:
    """Sign out of every browser and program."""
    if request.visitor is not None:
        with context.enter(as_pages()):
            await desk.clients.browsers.end_all(request.visitor.user.id)
    return Redirect(to="/?told=everywhere", cookies=(HostCookie(SESSION, ""),))


async def account(desk: Desk, request: Request) -> Answer:
    """Show who is signed in and what can be changed."""
    del desk, request
    return _account(NO_FAULT)


async def rename(desk: Desk, request: Request) -> Answer:
    """Change the name."""
    form = checked(NameForm, request.form)
    if isinstance(form, Filled):
        return _account(form)
    await desk.clients.users.rename(form.name)
    return Redirect(to="/account?told=saved")


async def prefer(desk: Desk, request: Request) -> Answer:
    """Change language of the mails and look of the pages."""
    form = checked(PreferencesForm, request.form)
    if isinstance(form, Filled):
        return _account(form)
    await desk.clients.users.prefer(form.language, form.theme)
    return Redirect(to="/account?told=saved")


async def change_password(desk: Desk, request: Request) -> Answer:
    """Change the password: everybody else who is signed in with the account is signed out."""
    form = checked(PasswordForm, request.form)
    if isinstance(form, Filled):
        return _account(form)
    try:
        await desk.clients.users.change_password(form.current, form.new, browser=request.mark)
    except WrongPasswordError:
        return _account(NO_FAULT.with_fault("current", "This is not the password that you have now."))
    except WeakPasswordError as error:
        return _account(NO_FAULT.with_fault("new", f"This password {error.reason}. Please choose another."))
    except TooManyTriesError as error:
        told = NO_FAULT.with_fault("current", patience(error))
        return replace(_account(told), status=429, retry_after_s=error.retry_after_s)
    return Redirect(to="/account?told=password")


async def delete_form(desk: Desk, request: Request) -> Answer:
    """Say what deleting the account means, and ask for the password."""
    del desk, request
    return _leaving(NO_FAULT)


async def delete(desk: Desk, request: Request) -> Answer:
    """Delete the account, and with it every session."""
    form = checked(DeletionForm, request.form)
    wrong = NO_FAULT.with_fault("password", "This is not your password. Nothing has been deleted.")
    if isinstance(form, Filled):
        return _leaving(wrong)
    try:
        await desk.clients.users.delete_account(form.password)
    except WrongPasswordError:
        return _leaving(wrong)
    except LastAdminError:
        told = "You are the last administrator of this shop. Make somebody else one first."
        return replace(_leaving(NO_FAULT.with_fault("", told)), status=409)
    except TooManyTriesError as error:
        told = NO_FAULT.with_fault("password", patience(error))
        return replace(_leaving(told), status=429, retry_after_s=error.retry_after_s)
    return Redirect(to="/?told=deleted", cookies=(HostCookie(SESSION, ""), HostCookie(CART, "")))


async def _joining(desk: Desk, request: Request) -> Page:
    by_mail = (await desk.clients.sign_ups.sign_up_way()).way == "by-mail"
    return asked("registermail.html" if by_mail else "register.html", request, NO_FAULT, status=200)


def _signing_up(ticket: str, filled: Filled) -> Page:
    values = {"filled": filled, "ticket": ticket[:2_000]}
    return Page(template="signup.html", values=values, status=422 if filled.faults else 200)


def _account(filled: Filled) -> Page:
    return Page(template="account.html", values={"filled": filled}, status=422 if filled.faults else 200)


def _leaving(filled: Filled) -> Page:
    return Page(template="leaving.html", values={"filled": filled}, status=422 if filled.faults else 200)
