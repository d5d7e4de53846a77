"""The few pages of an OAuth server: consent, a device's letters, what apps may do, and what went wrong.

No script, no style in the page, everything escaped. A form may lead to where the client's answer goes and nowhere else.
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final
from urllib.parse import urlsplit

from archstone.security.oauth.clients import Client
from archstone.security.oauth.grants import Grant
from archstone.security.oauth.http import Answer
from archstone.security.oauth.people import Person

__all__ = ["STYLE", "apps_page", "consent_page", "device_page", "message_page", "style"]

STYLE: Final = """\
:root { color-scheme: light dark; --ink: #1d2330; --paper: #f6f5f2; --card: #fff; --line: #d9d6cf; --quiet: #5c6373;
  --act: #1f5f8b; --act-ink: #fff; --bad: #a3262a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --paper: #16191f; --card: #1f242d; --line: #39404d;
  --quiet: #a2a9b8; --act: #7db8e0; --act-ink: #10202c; --bad: #ff9a98; } }
* { box-sizing: border-box; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
main { max-width: 30rem; margin: 3rem auto; padding: 1.5rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; overflow-wrap: anywhere; }
h1 { margin-top: 0; font-size: 1.4rem; line-height: 1.25; }
ul { padding-left: 1.2rem; }
li { margin: .3rem 0; }
.quiet { color: var(--quiet); font-size: .9rem; }
.bad { color: var(--bad); }
.code { font: 600 1.6rem/1.2 ui-monospace, monospace; letter-spacing: .1em; }
.row { display: flex; gap: .75rem; flex-wrap: wrap; }
button { min-height: 2.75rem; padding: .5rem 1.2rem; font: inherit; border-radius: .5rem; cursor: pointer;
  border: 1px solid var(--line); background: transparent; color: var(--ink); }
button.action { background: var(--act); border-color: var(--act); color: var(--act-ink); }
input { width: 100%; min-height: 2.75rem; padding: .5rem; font: inherit; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: .5rem; margin: .25rem 0 1rem; }
:focus-visible { outline: 3px solid var(--act); outline-offset: 2px; }
@media (max-width: 34rem) { main { margin: 0; border: 0; border-radius: 0; min-height: 100vh; } }
"""


def style() -> Answer:
    """Return the style sheet."""
    headers = ((b"content-type", b"text/css; charset=utf-8"), (b"cache-control", b"public, max-age=3600"))
    return Answer(200, STYLE.encode(), headers)


def consent_page(  # noqa: PLR0913 - each stands on the page
    root: str,
    *,
    client: Client,
    person: Person,
    scopes: Iterable[str],
    words: Mapping[str, str],
    leads_to: str,
    hidden: Mapping[str, str],
    act: str = "/consent",
    code: str = "",
) -> Answer:
    """Ask a person whether a client may do something.

    Args:
        root: Path of the mount.
        client: Who asks.
        person: Who is asked.
        scopes: What for.
        words: Each scope in words.
        leads_to: Where the answer goes; empty: nowhere, it is a device.
        hidden: Fields that the decision carries.
        act: Where the decision goes, below the mount.
        code: The letters that a device shows.
    """
    items = "".join(f"<li>{escape(words.get(each, each))}</li>" for each in scopes)
    name = escape(client.name)
    place = f"<p class=quiet>Afterwards you are sent to {escape(_place(leads_to))}.</p>" if leads_to else ""
    letters = (
        f"<p>Go on only if you see these letters on your own device, and nobody has sent them to you:</p>"
        f"<p class=code>{escape(code)}</p>"
        if code
        else ""
    )
    body = (
        f"<h1>May {name} do this in your name?</h1><p>You are signed in as <strong>{escape(person.name)}</strong>.</p>"
        f"{letters}<p><strong>{name}</strong> would be able to:</p><ul>{items}</ul>{place}"
        f'<form method=post action="{escape(root)}{act}">{_hidden(hidden)}<div class=row>'
        "<button class=action name=decision value=allow>Allow</button>"
        "<button name=decision value=deny>Do not allow</button></div></form>"
        "<p class=quiet>You can take this back at any time, under the apps of your account.</p>"
    )
    return _page(root, f"Allow {client.name}?", body, leads_to=leads_to)


def device_page(root: str, *, typed: str = "", fault: str = "", status: int = 200) -> Answer:
    """Ask for the letters that a device shows."""
    told = f"<p class=bad role=alert>{escape(fault)}</p>" if fault else ""
    body = (
        f"<h1>Connect a device</h1>{told}"
        f'<form method=post action="{escape(root)}/device"><label for=user_code>The letters that it shows</label>'
        f'<input id=user_code name=user_code value="{escape(typed[:20])}" maxlength=20 autocomplete=off '
        "autocapitalize=characters spellcheck=false required><button class=action>Go on</button></form>"
    )
    return _page(root, "Connect a device", body, status=status)


def apps_page(root: str, grants: Iterable[tuple[Grant, str]], words: Mapping[str, str]) -> Answer:
    """Show what a person has allowed, each with a button that ends it."""
    items = "".join(_app(root, grant, name, words) for grant, name in grants)
    body = f"<h1>Apps that act for you</h1>{items or '<p>There are none.</p>'}"
    return _page(root, "Your apps", body)


def _app(root: str, grant: Grant, name: str, words: Mapping[str, str]) -> str:
    may = ", ".join(escape(words.get(each, each)) for each in grant.scopes.split())
    return (
        f"<section><h2>{escape(name)}</h2><p class=quiet>{may}</p>"
        f'<form method=post action="{escape(root)}/apps">{_hidden({"grant": grant.id})}'
        "<button>End this</button></form></section>"
    )


def message_page(root: str, title: str, text: str, *, status: int = 400) -> Answer:
    """Tell a person something. It says where nobody is sent on."""
    return _page(root, title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>", status=status)


def _hidden(fields: Mapping[str, str]) -> str:
    return "".join(
        f'<input type=hidden name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )


def _place(uri: str) -> str:
    place = urlsplit(uri)
    return f"{place.scheme}://{place.netloc}" if place.netloc else f"the app {place.scheme}"


def _page(root: str, title: str, body: str, *, status: int = 200, leads_to: str = "") -> Answer:
    # A browser applies form-action also to where the answer to a form redirects.
    place = urlsplit(leads_to)
    beyond = "" if not leads_to else f" {place.scheme}://{place.netloc}" if place.netloc else f" {place.scheme}:"
    policy = (
        f"default-src 'none'; style-src 'self'; form-action 'self'{beyond}; frame-ancestors 'none'; base-uri 'none'"
    )
    html = (
        '<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width, '
        f'initial-scale=1"><title>{escape(title)}</title><link rel=stylesheet href="{escape(root)}/style.css"></head>'
        f"<body><main>{body}</main></body></html>"
    )
    headers = (
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode("ascii")),
        (b"x-frame-options", b"DENY"),
        (b"x-content-type-options", b"nosniff"),
        # Under no-referrer a browser would send "Origin: null" with our own forms.
        (b"referrer-policy", b"same-origin"),
        (b"cache-control", b"private, no-store"),
    )
    return Answer(status, html.encode(), headers)
