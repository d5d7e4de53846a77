"""Signing in and out, registering, and the account."""

from dataclasses import replace

from archstone import context
from archstone.context import Principal
from archstone.resilience import RateLimitedError
from archstone.security import HostCookie
from archstone.systems.shop.users.contract import (
    EmailTakenError,
    LastAdminError,
    SignInError,
    User,
    WeakPasswordError,
    WrongPasswordError,
)
from archstone.systems.shop.web.cookies import CART, SESSION
from archstone.systems.shop.web.desk import SESSION_KEEP_S, Desk, as_pages
from archstone.systems.shop.web.exchange import Answer, Page, Redirect, Request, local_path
from archstone.systems.shop.web.forms import (
    DeletionForm,
    Filled,
    LoginForm,
    NameForm,
    PasswordForm,
    PreferencesForm,
    RegisterForm,
    checked,
    shown_again,
)

__all__ = [
    "account",
    "change_password",
    "delete",
    "delete_form",
    "login",
    "login_form",
    "logout",
    "logout_everywhere",
    "prefer",
    "register",
    "register_form",
    "rename",
]

_NO_FAULT = Filled()
_WRONG = "E-mail address or password is wrong."


async def login_form(desk: Desk, request: Request) -> Answer:
    """Ask for address and password."""
    del desk
    if request.visitor is not None:
        return Redirect(to=_next(request))
    return _asked("login.html", request, _NO_FAULT, status=200)


async def login(desk: Desk, request: Request) -> Answer:
    """Sign in: a new session, in place of the one that the browser had, and the guest's cart comes along."""
    form = checked(LoginForm, request.form)
    if isinstance(form, Filled):
        # What no account can have is as wrong as what this one has not.
        told = form.faults if "email" in form.faults else {"": _WRONG}
        return _asked("login.html", request, Filled(form.typed, told), status=422)
    try:
        desk.count_try(request, form.email)
        return await _begun(desk, request, form.email, form.password)
    except SignInError:
        return _asked("login.html", request, Filled(shown_again(request.form), {"": _WRONG}), status=422)
    except RateLimitedError as error:
        return _too_often("login.html", request, error)


async def register_form(desk: Desk, request: Request) -> Answer:
    """Ask for what an account needs."""
    del desk
    if request.visitor is not None:
        return Redirect(to=_next(request))
    return _asked("register.html", request, _NO_FAULT, status=200)


async def register(desk: Desk, request: Request) -> Answer:
    """Make an account and sign in with it."""
    form = checked(RegisterForm, request.form)
    if isinstance(form, Filled):
        return _asked("register.html", request, form, status=422)
    again = Filled(shown_again(request.form))
    try:
        desk.count_try(request, form.email)
        await desk.clients.users.register(form.email, form.password, form.name)
        return await _begun(desk, request, form.email, form.password)
    except EmailTakenError:
        told = "There is an account with this address already. Please sign in."
        return _asked("register.html", request, again.with_fault("email", told), status=409)
    except WeakPasswordError as error:
        told = f"This password {error.reason}. Please choose another."
        return _asked("register.html", request, again.with_fault("password", told), status=422)
    except RateLimitedError as error:
        return _too_often("register.html", request, error)


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
    return _account(_NO_FAULT)


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
        _count_own_try(desk, request)
        await desk.clients.users.change_password(form.current, form.new, browser=request.mark)
    except WrongPasswordError:
        return _account(_NO_FAULT.with_fault("current", "This is not the password that you have now."))
    except WeakPasswordError as error:
        return _account(_NO_FAULT.with_fault("new", f"This password {error.reason}. Please choose another."))
    except RateLimitedError as error:
        told = _NO_FAULT.with_fault("current", _patience(error))
        return replace(_account(told), status=429, retry_after_s=error.retry_after_s)
    return Redirect(to="/account?told=password")


async def delete_form(desk: Desk, request: Request) -> Answer:
    """Say what deleting the account means, and ask for the password."""
    del desk, request
    return _leaving(_NO_FAULT)


async def delete(desk: Desk, request: Request) -> Answer:
    """Delete the account, and with it every session."""
    form = checked(DeletionForm, request.form)
    wrong = _NO_FAULT.with_fault("password", "This is not your password. Nothing has been deleted.")
    if isinstance(form, Filled):
        return _leaving(wrong)
    try:
        _count_own_try(desk, request)
        await desk.clients.users.delete_account(form.password)
    except WrongPasswordError:
        return _leaving(wrong)
    except LastAdminError:
        told = "You are the last administrator of this shop. Make somebody else one first."
        return replace(_leaving(_NO_FAULT.with_fault("", told)), status=409)
    except RateLimitedError as error:
        told = _NO_FAULT.with_fault("password", _patience(error))
        return replace(_leaving(told), status=429, retry_after_s=error.retry_after_s)
    return Redirect(to="/?told=deleted", cookies=(HostCookie(SESSION, ""), HostCookie(CART, "")))


def _count_own_try(desk: Desk, request: Request) -> None:
    if request.visitor is not None:
        desk.count_try(request, request.visitor.user.email)


async def _begun(desk: Desk, request: Request, email: str, password: str) -> Redirect:
    with context.enter(as_pages()):
        session = await desk.clients.browsers.begin(email, password, request.mark)
    with context.enter(context.current()._replace(principal=_principal(session.user))):
        dropped, cookies = await desk.bring_cart(request)
    to = "/cart?told=dropped" if dropped else _next(request)
    return Redirect(to=to, cookies=(HostCookie(SESSION, session.token, SESSION_KEEP_S), *cookies))


def _principal(user: User) -> Principal:
    return Principal(user.id, frozenset(user.roles))


def _next(request: Request) -> str:
    """Return where somebody wanted to go before being asked to sign in."""
    return local_path(request.form.get("next") or request.query.get("next", ""))


def _asked(template: str, request: Request, filled: Filled, *, status: int) -> Page:
    return Page(template=template, values={"filled": filled, "next": _next(request)}, status=status)


def _too_often(template: str, request: Request, error: RateLimitedError) -> Page:
    values = {"filled": Filled(shown_again(request.form), {"": _patience(error)}), "next": _next(request)}
    return Page(template=template, values=values, status=429, retry_after_s=error.retry_after_s)


def _patience(error: RateLimitedError) -> str:
    return f"Too many attempts. Please try again in {round(error.retry_after_s) + 1} seconds."


def _account(filled: Filled) -> Page:
    return Page(template="account.html", values={"filled": filled}, status=422 if filled.faults else 200)


def _leaving(filled: Filled) -> Page:
    return Page(template="leaving.html", values={"filled": filled}, status=422 if filled.faults else 200)
