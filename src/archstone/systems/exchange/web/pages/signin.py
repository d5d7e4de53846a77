"""Coming and going: a trial account by one click, or by e-mail and password."""

from dataclasses import replace
from typing import Final

from archstone import context
from archstone.security import HostCookie
from archstone.systems.exchange.accounts.contract import (
    EmailTakenError,
    Session,
    SignInError,
    TooManyTriesError,
    WeakPasswordError,
    browser_mark,
)
from archstone.systems.exchange.accounts.service import SESSION_S
from archstone.systems.exchange.web.asking import Answer, Hall, Page, Redirect, Request
from archstone.systems.exchange.web.clients import PAGES
from archstone.systems.exchange.web.cookies import SESSION
from archstone.systems.exchange.web.forms import LoginForm, RegisterForm, checked

__all__ = ["SIGNED_OUT", "begun", "login", "login_form", "logout", "register", "register_form", "trial"]

SIGNED_OUT: Final = Redirect(
    to="/", cookies=(HostCookie(SESSION, ""),), headers=((b"clear-site-data", b'"cache", "storage"'),)
)
"""Nothing of who was signed in stays in the browser."""


async def trial(hall: Hall, request: Request) -> Answer:
    """Open an account with play money, and go on."""
    return await begun(hall, request, await hall.clients.accounts.trial())


async def login_form(hall: Hall, request: Request) -> Answer:
    """Ask for address and password."""
    del hall
    return Redirect(to=request.next) if request.visitor else _asked("login.html", request)


async def login(hall: Hall, request: Request) -> Answer:
    """Sign in."""
    form = checked(LoginForm, request.form)
    wrong = _asked("login.html", request, "E-mail address or password is wrong.", status=422)
    if form is None:
        return wrong
    try:
        session = await hall.clients.accounts.login(form.email, form.password)
    except SignInError:
        return wrong
    except TooManyTriesError as error:
        return _asked(
            "login.html", request, f"Too many attempts: try again in {error.retry_after_s:.0f} s.", status=429
        )
    return await begun(hall, request, session)


async def register_form(hall: Hall, request: Request) -> Answer:
    """Ask for what an account needs."""
    del hall
    return _asked("register.html", request)


async def register(hall: Hall, request: Request) -> Answer:
    """Open an account that one can come back to."""
    form = checked(RegisterForm, request.form)
    if form is None:
        told = "Write an e-mail address, and a password of at least 8 characters."
        return _asked("register.html", request, told, status=422)
    try:
        session = await hall.clients.accounts.register(form.email, form.password, form.name)
    except EmailTakenError:
        return _asked("register.html", request, "This address is registered: sign in.", status=422)
    except WeakPasswordError as error:
        return _asked("register.html", request, f"This password {error.reason}.", status=422)
    return await begun(hall, request, session)


async def logout(hall: Hall, request: Request) -> Answer:
    """End the browser's session."""
    if request.token is not None:
        with context.enter(context.current()._replace(principal=PAGES)):
            await hall.clients.browsers.end(browser_mark(request.token))
    if request.visitor is not None and not request.visitor.email:
        return replace(SIGNED_OUT, to="/?told=trial-ended")
    return SIGNED_OUT


async def begun(hall: Hall, request: Request, session: Session, to: str = "") -> Redirect:
    """Begin the browser's session of somebody who has just signed in, and end the one that it had."""
    with context.enter(context.current()._replace(principal=PAGES)):
        if request.token is not None:
            await hall.clients.browsers.end(browser_mark(request.token))
        token = await hall.clients.browsers.begin(session.visitor.account)
    return Redirect(to=to or request.next, cookies=(HostCookie(SESSION, token, SESSION_S),))


def _asked(template: str, request: Request, fault: str = "", *, status: int = 200) -> Page:
    values = {
        "fault": fault, "next": request.next, "email": request.form.get("email", "")[:254],
        "name": request.form.get("name", "")[:60],
    }  # fmt: skip
    return Page(template=template, values=values, status=status)
