"""What a browser must be told, and what it may not be made to do: ASGI middlewares for any application.

SecureHeaders         policy with nonces, HSTS, isolation
SameOrigin            only our own pages change anything
DoubleSubmit          the same by tokens, for old clients
Cors                  which other sites may read
HttpsOnly             http is sent to https
HostCookie            cookies that name a session

In front of the others stands `SecureHeaders`, so that refusals carry the headers, too.
"""

from archstone.security.http.cookies import HostCookie, read_cookies
from archstone.security.http.cors import Cors, Origins
from archstone.security.http.cross_site import CrossSiteError, SameOrigin, check_same_origin
from archstone.security.http.csrf import CsrfError, CsrfTokens, DoubleSubmit
from archstone.security.http.headers import NONCE, STRICT, SecureHeaders, SecurityHeaders, nonce_of
from archstone.security.http.https import HttpsOnly, HttpsRedirect

__all__ = [
    "NONCE",
    "STRICT",
    "Cors",
    "CrossSiteError",
    "CsrfError",
    "CsrfTokens",
    "DoubleSubmit",
    "HostCookie",
    "HttpsOnly",
    "HttpsRedirect",
    "Origins",
    "SameOrigin",
    "SecureHeaders",
    "SecurityHeaders",
    "check_same_origin",
    "nonce_of",
    "read_cookies",
]
