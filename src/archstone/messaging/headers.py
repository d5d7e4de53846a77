"""What the headers of a message say about where it comes from."""

from functools import lru_cache

import orjson

from archstone.context import Trace
from archstone.observability import parse_traceparent

__all__ = ["trace_of"]


@lru_cache(maxsize=1024)  # a message comes once for each group, and its headers with it
def trace_of(headers: bytes) -> tuple[Trace | None, str | None]:
    """Return the trace and the correlation that headers name. Broken ones name none: they are no condition."""
    try:
        found = orjson.loads(headers)
        return parse_traceparent(found.get("traceparent")), found.get("correlation_id")
    except (ValueError, AttributeError, TypeError):
        return None, None
