"""A policy around every request of an httpx client, one circuit for each host.

    calm = Policy(Retry(3, budget_ratio=0.1), Breaker(5), Bulkhead(50))
    client = httpx.AsyncClient(transport=PolicyTransport(calm))

Answers of `failing` statuses count as failures, and their `Retry-After` is honoured. The last one is returned as an
answer all the same, as httpx does. A request is sent again only where that is safe: its method is idempotent or it has
an `Idempotency-Key`, or it was certainly not sent; and only if its body can be read again.

Needs `archstone[httpx]`; nothing else in Archstone imports it.
"""

from collections.abc import Callable, Collection
from email.utils import parsedate_to_datetime
from typing import Final

from archstone import world
from archstone.errors import BackendError, ConfigError, RejectedError
from archstone.resilience.policy import Policy

try:
    import httpx
except ImportError as error:
    message = "archstone.resilience.httpx needs httpx: pip install 'archstone[httpx]'"
    raise ConfigError(message) from error

__all__ = ["FAILING", "PolicyTransport"]

FAILING: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses that say that the other side cannot, and not that the request is wrong."""
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
_MOST_HOSTS: Final = 1000


class NotSentError(RejectedError):
    """There was no connection, so nothing was done."""


class FailedError(BackendError):
    """The request failed, or was answered with a failing status; it may be sent again."""

    retry_after_s: float | None = None


class FinalError(Exception):
    """The same, for a request that must not be sent again."""


class PolicyTransport(httpx.AsyncBaseTransport):
    """A transport behind a policy."""

    def __init__(
        self,
        policy: Policy,
        inner: httpx.AsyncBaseTransport | None = None,
        *,
        name_of: Callable[[httpx.Request], str] = lambda request: request.url.host,
        failing: Collection[int] = FAILING,
    ) -> None:
        """Put `policy` around `inner`.

        Args:
            policy: Bound once for each name.
            inner: What sends; it is closed with this. None: a pool of httpx's own.
            name_of: Which requests share a circuit. After a thousand names all others share one.
            failing: Statuses that count as failures.
        """
        self._policy = policy
        self._inner = httpx.AsyncHTTPTransport() if inner is None else inner
        self._name_of = name_of
        self._failing = failing
        self._names: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` under the policy of its name."""
        failed: list[httpx.Response] = []
        again = _may_be_sent_again(request)

        async def attempt() -> httpx.Response:
            await _drop(failed)
            try:
                response = await self._inner.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise NotSentError(str(error)) from error
            except httpx.TransportError as error:
                raise (FailedError(str(error)) if again else FinalError(str(error))) from error
            if response.status_code not in self._failing:
                return response
            failed.append(response)
            raise _failure(response, again=again)

        try:
            return await self._policy.bind(self._name(request))(attempt)()
        except (NotSentError, FailedError, FinalError) as error:
            if failed:
                return failed.pop()
            raise (error.__cause__ or error) from None
        except BaseException:
            await _drop(failed)
            raise

    async def aclose(self) -> None:
        """Close what sends."""
        await self._inner.aclose()

    def _name(self, request: httpx.Request) -> str:
        name = self._name_of(request)
        if name not in self._names and len(self._names) >= _MOST_HOSTS:
            return "other"
        self._names.add(name)
        return name


async def _drop(responses: list[httpx.Response]) -> None:
    while responses:
        await responses.pop().aclose()


def _may_be_sent_again(request: httpx.Request) -> bool:
    replays = isinstance(request.stream, httpx.ByteStream)
    return replays and (request.method in _IDEMPOTENT or "Idempotency-Key" in request.headers)


def _failure(response: httpx.Response, *, again: bool) -> Exception:
    text = f"status {response.status_code}"
    if not again:
        return FinalError(text)
    error = FailedError(text)
    error.retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
    return error


def _retry_after_s(said: str | None) -> float | None:
    """Return the seconds of a `Retry-After`, which may be a number or a date. None: it says nothing."""
    if said is None:
        return None
    try:
        return float(int(said))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(said) - world.now()).total_seconds())
    except (ValueError, TypeError):
        return None
