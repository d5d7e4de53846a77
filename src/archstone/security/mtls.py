"""Both ends of a connection between services prove who they are, by certificates of one authority.

    identity = Identity(data / "tls" / "orders", domain="shop.internal")
    HttpTransport("https://10.0.0.7:8443", tls=identity.calling("inventory"))     # and nobody else
    uvicorn.Config(PeersOnly(app, domain="shop.internal"), http=BoundedHttp, ssl_context_factory=identity.factory)

Promise: TLS 1.3. Who has no certificate of the authority, an expired one, or one of another domain, is refused in the
handshake; who is another service than was asked for is refused before a byte of the request is sent. New files are
taken with the next connection; requests that are under way go on, and the next one of a client opens a new connection.
A peer whose certificate ends while it is connected is refused with its next request. Sessions are not resumed, since a
resumed one is not checked anew.
Not for browsers: a name there is one of DNS.
"""

import ssl
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

from archstone import world
from archstone.errors import DeniedError
from archstone.security.authority import IDENTITY, TRUSTED, service_uri
from archstone.security.errors import InsecureKeyFileError, KeyFileError
from archstone.security.http.asgi import App, Receive, Scope, Send, refuse
from archstone.security.private_files import taken

__all__ = ["PEER_HEADER", "CallingAs", "Identity", "IdentityFileError", "PeerError", "PeersOnly", "peer_of"]

PEER_HEADER: Final = b"archstone-peer"
"""Which service asks, as `PeersOnly` tells the application; what came from outside under this name is dropped."""
EXTENSION: Final = "archstone.peer"
"""In the ASGI scope: the peer's certificate as `ssl` tells of it, from `archstone.gateway.heads.BoundedHttp`."""

Certificate = Mapping[str, Any]


class PeerError(DeniedError, code="security.peer", status=403):
    """The other end is not who it must be. Nothing was sent to it, or nothing of what it sent was looked at."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"the other end is {self.found}, and must be {self.expected}: look at addresses and certificates"


class IdentityFileError(KeyFileError):
    """The certificate of a service, or whom it trusts, cannot be read."""

    def __str__(self) -> str:
        return f"certificates in {self.path}: {self.what}; have the authority write them there: `Authority.give`"


class Identity:
    """A service's certificate and whom it trusts, from the folder that `Authority.give` writes."""

    def __init__(self, folder: Path, *, domain: str) -> None:
        """Read the folder.

        Raises:
            IdentityFileError: It holds no certificate.
            InsecureKeyFileError: The mode of the file with its key lets others in.
        """
        self.domain = domain
        self._files = (folder / IDENTITY, folder / TRUSTED)
        self._seen: tuple[tuple[int, int], ...] = ()
        self._client, self._server = self._contexts()
        self._listening = _context(server=True)
        self._read(self._listening)
        # Called with every handshake; what it puts in place decides for that connection.
        self._listening.sni_callback = self._answer

    def client(self) -> ssl.SSLContext:
        """Return the context for a new connection to another service. Who that is must be checked: see `calling`."""
        self._refresh()
        return self._client

    def server(self) -> ssl.SSLContext:
        """Return the context to listen with; it takes new files with the next connection."""
        return self._listening

    def factory(self, config: object, default: object) -> ssl.SSLContext:
        """Return `server()`, in the form of uvicorn's `ssl_context_factory`."""
        del config, default
        return self._listening

    def calling(self, service: str) -> "CallingAs":
        """Return how to call one service and nobody else, for `HttpTransport(tls=...)`."""
        return CallingAs(self, service)

    def peer(self, certificate: Certificate | None, *, among: Collection[str] | None = None) -> str:
        """Return which service is at the other end, for protocols that are not HTTP.

        Args:
            certificate: Its own, verified: `transport.get_extra_info("peercert")`.
            among: Services that may be there. None: all of the domain.

        Raises:
            PeerError: It is none of them, or its certificate has ended.
        """
        found = _service(certificate, self.domain)
        if among is not None and found not in among:
            raise PeerError(" or ".join(f"service {name}" for name in sorted(among)) or "nobody", f"service {found}")
        return found

    def _answer(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        self._refresh()
        connection.context = self._server

    def _refresh(self) -> None:
        """Take new files, if there are some that can be read; else go on with the old ones."""
        try:
            if self._stamp() != self._seen:
                self._client, self._server = self._contexts()
        except (KeyFileError, InsecureKeyFileError):
            return  # half written: the next connection finds them whole

    def _contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        seen = self._stamp()
        made = _context(server=False), _context(server=True)
        for context in made:
            self._read(context)
        self._seen = seen
        return made

    def _read(self, context: ssl.SSLContext) -> None:
        identity, trusted = self._files
        try:
            taken(identity, InsecureKeyFileError)
            context.load_cert_chain(identity)
            context.load_verify_locations(trusted)
        except (OSError, ssl.SSLError) as error:
            raise IdentityFileError(str(identity.parent), f"no certificate can be read ({error})") from error

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        try:
            told = [file.stat() for file in self._files]
        except OSError as error:
            raise IdentityFileError(str(self._files[0].parent), error.strerror or str(error)) from error
        return tuple((each.st_mtime_ns, each.st_ino) for each in told)


class CallingAs:
    """One end of connections to one service: the port `PeerTls` of `archstone.services.http`."""

    def __init__(self, identity: Identity, service: str) -> None:
        self._identity = identity
        self._expected = service_uri(identity.domain, service)

    def context(self) -> ssl.SSLContext:
        """Return the context of a new connection."""
        return self._identity.client()

    def check(self, certificate: Certificate | None) -> None:
        """Refuse who is another service than the one that is called.

        Raises:
            PeerError: It is.
        """
        found = _uris(certificate)
        if found != (self._expected,):
            raise PeerError(self._expected, ", ".join(found) or "nobody")


class PeersOnly:
    """An ASGI application that other services of the domain may call, and nobody else.

    It tells which one calls in the header `Archstone-Peer`, from which `peer_principal` of `archstone.services.http`
    makes the principal of a call that carries none.
    """

    def __init__(self, app: App, *, domain: str, callers: tuple[str, ...] | None = None) -> None:
        """Stand in front of `app`.

        Args:
            app: What is guarded.
            domain: Of the authority.
            callers: Services that may call. None: all of the domain.
        """
        self._app = app
        self._domain = domain
        self._callers = None if callers is None else frozenset(callers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            peer = self._caller(scope)
        except PeerError as error:
            if scope["type"] == "http":
                await refuse(send, error.status, error.code, "this service is called by services it knows")
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = [pair for pair in scope["headers"] if pair[0] != PEER_HEADER]
        await self._app({**scope, "headers": [*headers, (PEER_HEADER, peer.encode("ascii"))]}, receive, send)

    def _caller(self, scope: Scope) -> str:
        peer = peer_of(scope, self._domain)
        if self._callers is not None and peer not in self._callers:
            raise PeerError("a service that may call this one", f"service {peer}")
        return peer


def peer_of(scope: Scope, domain: str) -> str:
    """Return which service has sent a request.

    Raises:
        PeerError: It has no certificate, it has ended meanwhile, or it is none of a service of the domain.
    """
    return _service(cast("Certificate | None", scope.get("extensions", {}).get(EXTENSION)), domain)


def _service(certificate: Certificate | None, domain: str) -> str:
    prefix = service_uri(domain, "")
    found = _uris(certificate)
    if certificate is None or len(found) != 1 or not found[0].startswith(prefix):
        raise PeerError(f"{prefix}…", ", ".join(found) or "nobody")
    if world.now_us() >= _ends_us(str(certificate["notAfter"])):
        raise PeerError(found[0], "the same with a certificate that has ended")
    return found[0].removeprefix(prefix)


def _uris(certificate: Certificate | None) -> tuple[str, ...]:
    names = () if certificate is None else cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()))
    return tuple(value for kind, value in names if kind == "URI")


@lru_cache(maxsize=1024)
def _ends_us(text: str) -> int:
    return ssl.cert_time_to_seconds(text) * 1_000_000


def _context(*, server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # services have no names of DNS: `CallingAs.check` looks at the one they have
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET
    if server:
        context.num_tickets = 0
    return context
