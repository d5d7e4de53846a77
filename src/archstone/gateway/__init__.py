"""The front door: routes the public operations of a system, and lets nobody in who should not be.

    gateway=Gateway(rate_limit=RateLimit(50, burst=100), shed=Shed(500), urgent=(Orders.place,))

Bearer tokens, `requires`, rate limit, shedding, body limit, request id, security headers, entity tags, gzip and brotli,
`/health/live`, `/health/ready`, `/metrics`, `/openapi.json`, `/docs`. A value, given to `System`; `build` makes the
ASGI application of it, with no System too.
"""

from archstone.gateway.admission import Tokens, Verify, client_key
from archstone.gateway.console import (
    ADMIN,
    Console,
    Figures,
    Letter,
    LetterPage,
    SagaCall,
    SagaDetail,
    SagaLine,
    SagaPage,
    StatusFilter,
    Watch,
)
from archstone.gateway.encoding import Compress
from archstone.gateway.errors import ScopeError, TokenError
from archstone.gateway.gateway import Gateway, GatewayParts
from archstone.gateway.scopes import scope_of, scopes_of
from archstone.gateway.story import (
    EventTold,
    Handling,
    HandlingState,
    Row,
    RowStatus,
    SagaStory,
    StepStory,
    Story,
    TraceStory,
)
from archstone.services.http import ASGIApp, Message, Receive, Response, Scope, Send

__all__ = [
    "ADMIN",
    "ASGIApp",
    "Compress",
    "Console",
    "EventTold",
    "Figures",
    "Gateway",
    "GatewayParts",
    "Handling",
    "HandlingState",
    "Letter",
    "LetterPage",
    "Message",
    "Receive",
    "Response",
    "Row",
    "RowStatus",
    "SagaCall",
    "SagaDetail",
    "SagaLine",
    "SagaPage",
    "SagaStory",
    "Scope",
    "ScopeError",
    "Send",
    "StatusFilter",
    "StepStory",
    "Story",
    "TokenError",
    "Tokens",
    "TraceStory",
    "Verify",
    "Watch",
    "client_key",
    "scope_of",
    "scopes_of",
]
