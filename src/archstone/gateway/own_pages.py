"""What the gateway says by itself: whether it lives, whether it is ready, its metrics. Never shed, never limited."""

from collections.abc import Callable

from pydantic_core import to_json

from archstone.observability import CONTENT_TYPE
from archstone.services.http import Response

__all__ = ["live", "metrics_page", "ready_page"]


def live() -> Response:
    """Say that the process runs and its loop turns."""
    return _health({"status": "live"}, status=200)


def ready_page(ready: Callable[[], tuple[bool, dict[str, object]]]) -> Response:
    """Say whether requests may come: 200 or 503, with what the system says about it."""
    ok, details = ready()
    return _health({"status": "ready" if ok else "not ready", **details}, status=200 if ok else 503)


def metrics_page(metrics: Callable[[], str]) -> Response:
    """Show the metrics in Prometheus' text format."""
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"cache-control", b"no-store")]
    return Response(200, headers, metrics().encode())


def _health(document: dict[str, object], *, status: int) -> Response:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    return Response(status, headers, to_json(document))
