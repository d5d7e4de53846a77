"""Async blocks in a program of plain threads: a WSGI view behind a rate limit and a policy.

Any WSGI server runs `app`; Flask, Django and Celery are the same: a plain function in some thread.
"""

from archstone import blocking
from archstone.resilience import Breaker, Bulkhead, Fallback, Policy, RateLimit, RateLimitedError, Timeout

limiter = RateLimit(10, burst=20).bind("visitors")
calm = Policy(Timeout(2.0), Breaker(5), Bulkhead(10, max_waiting=50), Fallback(lambda sku: 100))
asked: list[str] = []


@calm.bind("supplier")
async def price(sku: str) -> int:
    """Ask a supplier, as an async client would."""
    asked.append(sku)
    if sku == "broken":
        raise ConnectionError(sku)
    return 104


def app(environ, start_response):
    """Answer GET /<sku> with a price in cents."""
    try:
        blocking.call(limiter.turn, environ["REMOTE_ADDR"])
    except RateLimitedError as error:
        start_response("429 Too Many Requests", [("Retry-After", f"{error.retry_after_s:.0f}")])
        return [b""]
    cents = blocking.call(price, environ["PATH_INFO"].removeprefix("/"))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(cents).encode()]
