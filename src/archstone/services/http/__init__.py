"""Contracts over HTTP: serve them with `ContractApp`, call them with `HttpTransport`.

    app = ContractApp([(operation, transport) for operation in operations(Inventory)], title="Inventory")
    async with HttpTransport("http://127.0.0.1:8001", principals=codec) as transport:
        inventory = client(Inventory, transport)

`ContractApp` is an ASGI 3 application: uvicorn serves it, Starlette or FastAPI mount it. What can go wrong with a
request is an error of `archstone.services.http.errors`, answered as an RFC 9457 problem document.
"""

from typing import TYPE_CHECKING

from archstone.services.http.app import ContractApp
from archstone.services.http.asgi import ASGIApp, Direct, Headers, Message, Receive, Response, Scope, Send
from archstone.services.http.body import in_time
from archstone.services.http.documents import Documents
from archstone.services.http.errors import (
    AnswerError,
    BadRequestError,
    BodyLateError,
    BodyTooLargeError,
    ClientGoneError,
    ContentTypeError,
    HeadersTooLargeError,
    MethodError,
    PoolFullError,
    RouteError,
    UnreachableError,
)
from archstone.services.http.headers import read_headers
from archstone.services.http.memory import AsgiTransport, ask
from archstone.services.http.openapi import openapi
from archstone.services.http.peers import PeerTls, peer_principal
from archstone.services.http.principal import PrincipalCodec, PrincipalHook, read_with
from archstone.services.http.problems import problem, refusal
from archstone.services.http.route import Match, raw_path_of
from archstone.services.http.waiting import Ring, Watch

if TYPE_CHECKING:
    from archstone.services.http.transport import HttpTransport

__all__ = [
    "ASGIApp",
    "AnswerError",
    "AsgiTransport",
    "BadRequestError",
    "BodyLateError",
    "BodyTooLargeError",
    "ClientGoneError",
    "ContentTypeError",
    "ContractApp",
    "Direct",
    "Documents",
    "Headers",
    "HeadersTooLargeError",
    "HttpTransport",
    "Match",
    "Message",
    "MethodError",
    "PeerTls",
    "PoolFullError",
    "PrincipalCodec",
    "PrincipalHook",
    "Receive",
    "Response",
    "Ring",
    "RouteError",
    "Scope",
    "Send",
    "UnreachableError",
    "Watch",
    "ask",
    "in_time",
    "openapi",
    "peer_principal",
    "problem",
    "raw_path_of",
    "read_headers",
    "read_with",
    "refusal",
]


def __getattr__(name: str) -> object:
    # Serving needs no HTTP parser of ours; calling does, and it comes with the extra `serve`.
    if name == "HttpTransport":
        from archstone.services.http.transport import HttpTransport  # noqa: PLC0415

        return HttpTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
