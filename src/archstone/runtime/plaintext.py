"""What would cross a network in the clear: found in the settings before anything is opened.

Promise: with `plaintext = "loopback"`, the default, a system neither listens for http beyond this machine, unless a
proxy that it trusts stands in front, nor connects to another machine without TLS whose certificate is checked. What it
does within this machine, or over a socket file, it does as it is told.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from archstone.services import Option

if TYPE_CHECKING:
    from archstone.runtime.config import Settings

__all__ = ["faults_of_plaintext", "flaw_of_url", "stays_here"]

_BY_TLS: Final = frozenset({"https", "rediss", "valkeys", "smtps", "smtp+starttls", "amqps", "tls"})
_NO_NETWORK: Final = frozenset({"", "memory", "file", "sqlite", "unix"})
_CHECKED: Final = frozenset({"verify-ca", "verify-full"})
_WAY_OUT: Final = 'or say plaintext="anywhere" where the network itself is trusted'


def stays_here(host: str | None) -> bool:
    """Return whether what is sent to a host stays on this machine; an empty one, and a path, is a socket file."""
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def flaw_of_url(url: str) -> str | None:
    """Return why a connection to a URL is not protected on its way. None: it is, or it goes nowhere."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None  # whoever opens it says what is wrong with it
    scheme, query = parts.scheme, parse_qs(parts.query)
    if scheme in _NO_NETWORK or not parts.netloc:
        return None
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if all(map(stays_here, map(_host, hosts))) and all(map(stays_here, query.get("host", []))):
        return None
    if scheme in {"postgresql", "postgres"}:
        mode = query.get("sslmode", ["prefer"])[-1]
        return None if mode in _CHECKED else f"sslmode={mode} does not check whose server it is: say verify-full"
    if scheme not in _BY_TLS:
        return f"{scheme}:// is not encrypted: use the scheme with TLS"
    if query.get("ssl_cert_reqs", ["required"])[-1] != "required":
        return "ssl_cert_reqs does not check whose server it is: leave it out"
    return None


def faults_of_plaintext(settings: "Settings", declared: Sequence[Option]) -> Iterator[tuple[str, str]]:
    """Return what settings and options would send in the clear: the name of each, and what to do."""
    if settings.plaintext == "anywhere":
        return
    if not stays_here(settings.host) and not settings.tls_cert and not settings.trusted_proxies:
        told = f"http would be spoken beyond this machine: give tls_cert and tls_key, or trusted_proxies, {_WAY_OUT}"
        yield "host", told
    if (flaw := flaw_of_url(settings.database_url)) is not None:
        yield "database_url", f"{flaw}, {_WAY_OUT}"
    for name, value in settings.options.items():
        meant = [each for each in declared if each.takes(name)]
        if any(each.connects for each in meant) and (flaw := flaw_of_url(value)) is not None:
            yield f"options.{name}", f"{flaw}, {_WAY_OUT}"
        if any(each.listens for each in meant) and ":" in value and not stays_here(_host(value)):
            told = f"what is taken there is not encrypted: listen on this machine, behind a tunnel, {_WAY_OUT}"
            yield f"options.{name}", told


def _host(place: str) -> str:
    """Return the host of `host:port`, `[::1]:port` or `host`."""
    return place.partition("]")[0] if place.startswith("[") else place.partition(":")[0]
