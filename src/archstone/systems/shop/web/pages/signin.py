"""Signing in: password, the code after it, a passkey, and a way back for who has forgotten the password."""

from dataclasses import replace

from archstone import context
from archstone.context import Principal
from archstone.security import HostCookie
from archstone.systems.shop.users.contract import BrowserSession, DeactivatedError, SignInError, User
from archstone.systems.shop.users.proving import (
    PasskeyRefusedError,
    SecondFactorError,
    TicketError,
    TooManyTriesError,
    WeakPasswordError,
    WrongCodeError,
)
from archstone.systems.shop.web.cookies import SESSION
from archstone.systems.shop.web.desk import SESSION_KEEP_S, Desk, as_pages
from archstone.systems.shop.web.exchange import Answer, Page, Redirect, Request, local_path
from archstone.systems.shop.web.forms import (
    CodeForm,
    EmailForm,
    Filled,
    LoginForm,
    PasskeyForm,
    ResetForm,
    checked,
    shown_again,
)

__all__ = [
    "asked",
    "begun",
    "code",
    "forgot",
    "forgot_form",
    "login",
    "login_form",
    "next_of",
    "passkey",
    "passkey_form",
    "patience",
    "reset",
    "reset_form",
    "signed_in",
]

NO_FAULT = Filled()
_WRONG = "E-mail address or password is wrong."
_WRONG_CODE = "This code does not fit, was used before, or its time is over."
_OVER = "This took too long, or was used already. Please begin again."


async def login_form(desk: Desk, request: Request) -> Answer:
    """Ask for address and password."""
    del desk
    if request.visitor is not None:
        return Redirect(to=next_of(request))
    return asked("login.html", request, NO_FAULT, status=200)


async def login(desk: Desk, request: Request) -> Answer:
    """Sign in: a new session, in place of the one that the browser had, and the guest's cart comes along."""
    form = checked(LoginForm, request.form)
    if isinstance(form, Filled):
        # What no account can have is as wrong as what this one has not.
        told = form.faults if "email" in form.faults else {"": _WRONG}
        return asked("login.html", request, Filled(form.typed, told), status=422)
    again = shown_again(request.form)
    try:
        return await signed_in(desk, request, form.email, form.password)
    except DeactivatedError as error:
        return asked("login.html", request, Filled(again, {"": _sentence(error)}), status=422)
    except SignInError:
        return asked("login.html", request, Filled(again, {"": _WRONG}), status=422)
    except TooManyTriesError as error:
        return _too_often(asked("login.html", request, Filled(again, {"": patience(error)}), status=429), error)


async def code(desk: Desk, request: Request) -> Answer:
    """Finish signing in with a code of the app, or a backup code."""
    form = checked(CodeForm, request.form)
    if isinstance(form, Filled):
        return asked("login.html", request, Filled({}, {"": _OVER}), status=422)
    try:
        with context.enter(as_pages()):
            session = await desk.clients.browsers.confirm_begin(form.ticket, form.code, request.mark)
    except WrongCodeError:
        return _asked_code(request, form.ticket, _WRONG_CODE, status=422)
    except TooManyTriesError as error:
        return _too_often(_asked_code(request, form.ticket, patience(error), status=429), error)
    except (TicketError, SignInError):
        return asked("login.html", request, Filled({}, {"": _OVER}), status=422)
    return await begun(desk, request, session)


async def passkey_form(desk: Desk, request: Request) -> Answer:
    """Offer to sign in with a passkey."""
    if request.visitor is not None:
        return Redirect(to=next_of(request))
    return await _asked_passkey(desk, request, NO_FAULT, status=200)


async def passkey(desk: Desk, request: Request) -> Answer:
    """Sign in with a passkey."""
    form = checked(PasskeyForm, request.form)
    if isinstance(form, Filled):
        return await _asked_passkey(desk, request, Filled({}, {"": _OVER}), status=422)
    try:
        with context.enter(as_pages()):
            session = await desk.clients.browsers.begin_with_passkey(form.ceremony, form.answer, request.mark)
    except TooManyTriesError as error:
        page = await _asked_passkey(desk, request, Filled({}, {"": patience(error)}), status=429)
        return _too_often(page, error)
    except (TicketError, PasskeyRefusedError, DeactivatedError) as error:
        return await _asked_passkey(desk, request, Filled({}, {"": _sentence(error)}), status=422)
    return await begun(desk, request, session)


async def forgot_form(desk: Desk, request: Request) -> Answer:
    """Ask for the address to which a link goes."""
    del desk
    return asked("forgot.html", request, NO_FAULT, status=200)


async def forgot(desk: Desk, request: Request) -> Answer:
    """Have a link sent. What is answered does not tell whether there is an account."""
    form = checked(EmailForm, request.form)
    if isinstance(form, Filled):
        return asked("forgot.html", request, form, status=422)
    await desk.clients.recovery.ask_reset(form.email)
    return Redirect(to="/login?told=link")


async def reset_form(desk: Desk, request: Request) -> Answer:
    """Ask for another password, for whoever has the link of a mail."""
    del desk
    return _asked_reset(request.query.get("ticket", ""), NO_FAULT, status=200)


async def reset(desk: Desk, request: Request) -> Answer:
    """Set another password."""
    form = checked(ResetForm, request.form)
    ticket = request.form.get("ticket", "")
    if isinstance(form, Filled):
        return _asked_reset(ticket, form, status=422)
    again, programs = Filled(shown_again(request.form)), form.programs == "yes"
    try:
        await desk.clients.recovery.reset_password(form.ticket, form.new, form.code, programs)
    except WeakPasswordError as error:
        told = f"This password {error.reason}. Please choose another."
        return _asked_reset(ticket, again.with_fault("new", told), status=422)
    except WrongCodeError:
        return _asked_reset(ticket, again.with_fault("code", _WRONG_CODE), status=422)
    except TooManyTriesError as error:
        page = _asked_reset(ticket, again.with_fault("", patience(error)), status=429)
        return _too_often(page, error)
    except TicketError:
        told = "This link was used, or is older than ten minutes. Please ask for another."
        return asked("forgot.html", request, NO_FAULT.with_fault("", told), status=422)
    return Redirect(to=f"/login?told={'reset-all' if programs else 'reset'}", cookies=(HostCookie(SESSION, ""),))


async def signed_in(desk: Desk, request: Request, email: str, password: str) -> Answer:
    """Sign in with a password, or ask for the code that the account wants besides."""
    try:
        with context.enter(as_pages()):
            session = await desk.clients.browsers.begin(email, password, request.mark)
    except SecondFactorError as error:
        return _asked_code(request, error.ticket, "", status=200)
    return await begun(desk, request, session)


async def begun(desk: Desk, request: Request, session: BrowserSession) -> Redirect:
    """Let a new session begin, with the guest's cart."""
    with context.enter(context.current()._replace(principal=_principal(session.user))):
        dropped, cookies = await desk.bring_cart(request)
    to = "/cart?told=dropped" if dropped else next_of(request)
    return Redirect(to=to, cookies=(HostCookie(SESSION, session.token, SESSION_KEEP_S), *cookies))


def asked(template: str, request: Request, filled: Filled, *, status: int) -> Page:
    """Return a form that remembers where its visitor wanted to go."""
    return Page(template=template, values={"filled": filled, "next": next_of(request)}, status=status)


def next_of(request: Request) -> str:
    """Return where somebody wanted to go before being asked to sign in."""
    return local_path(request.form.get("next") or request.query.get("next", ""))


def patience(error: TooManyTriesError) -> str:
    """Return when to try again, in words."""
    return f"Too many attempts. Please try again in {round(error.retry_after_s) + 1} seconds."


def _principal(user: User) -> Principal:
    return Principal(user.id, frozenset(user.roles))


def _too_often(page: Page, error: TooManyTriesError) -> Page:
    return replace(page, retry_after_s=error.retry_after_s)


def _asked_code(request: Request, ticket: str, fault: str, *, status: int) -> Page:
    filled = Filled({}, {"code": fault} if fault else {})
    values = {"filled": filled, "next": next_of(request), "ticket": ticket}
    return Page(template="code.html", values=values, status=status)


async def _asked_passkey(desk: Desk, request: Request, filled: Filled, *, status: int) -> Page:
    with context.enter(as_pages()):
        ask = await desk.clients.browsers.ask_passkey()
    values = {"filled": filled, "next": next_of(request), "ask": ask}
    return Page(template="passkey.html", values=values, status=status)


def _asked_reset(ticket: str, filled: Filled, *, status: int) -> Page:
    return Page(template="reset.html", values={"filled": filled, "ticket": ticket[:2_000]}, status=status)


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
