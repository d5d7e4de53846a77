"""Whether a request that changes something comes from our own pages.

A browser says so twice: `Sec-Fetch-Site` by itself, and `Origin` with every POST. Both are looked at. A request with
neither comes from no browser of the last years, and is refused as well: programs have the API. The pages answer with
`Referrer-Policy: same-origin`, because under `no-referrer` a browser sends `Origin: null` even to ourselves.

Source: OWASP, Cross-Site Request Forgery Prevention Cheat Sheet; W3C, Fetch Metadata Request Headers.
"""

from typing import Final

from archstone.systems.shop.web.asgi import Headers

__all__ = ["CrossSiteError", "check_origin"]

_OWN: Final = frozenset({b"same-origin", b"none"})
"""`none`: the person asked for it, such as by restoring a tab. No page can cause it."""


class CrossSiteError(Exception):
    """The request does not come from the shop's own pages. Nothing was done."""


def check_origin(headers: Headers, *, https: bool) -> None:
    """Refuse what another site has sent.

    Behind a proxy that ends TLS the scheme is right only if the setting `trusted_proxies` names the proxy.

    Raises:
        CrossSiteError: a header says that it comes from elsewhere, or none says from where.
    """
    site = headers.get(b"sec-fetch-site")
    origin = headers.get(b"origin")
    if site is None and origin is None:
        raise CrossSiteError
    if site is not None and site not in _OWN:
        raise CrossSiteError
    host = headers.get(b"host", b"")
    if origin is not None and (not host or origin != (b"https://" if https else b"http://") + host):
        raise CrossSiteError
