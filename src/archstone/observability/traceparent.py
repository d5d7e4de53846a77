"""The W3C `traceparent` header: how a trace crosses a process boundary.

Strict in both directions: what does not follow the recommendation is None, never a guess, so that a forged or
broken header starts a new trace instead of poisoning one.

Source: W3C Trace Context, Recommendation of 23 November 2021, sections 3.2 and 4.
"""

import re
from typing import Final

from archstone.context import Trace

__all__ = ["format_traceparent", "parse_traceparent"]

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?", re.ASCII)
_LONGEST: Final = 512


def format_traceparent(trace: Trace) -> str:
    """Return the header value of `trace`: version 00, 55 characters."""
    return f"00-{trace.trace_id:032x}-{trace.span_id:016x}-{'01' if trace.sampled else '00'}"


def parse_traceparent(text: str | None) -> Trace | None:
    """Return the trace that a header value names, or None when there is none or it is not valid.

    A later version is read as far as version 00 goes, as the recommendation asks; version ff is never valid.
    """
    if text is None or len(text) > _LONGEST:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    version, trace_hex, span_hex, flags, more = found.groups()
    trace_id, span_id = int(trace_hex, 16), int(span_hex, 16)
    if version == "ff" or (version == "00" and more is not None) or not trace_id or not span_id:
        return None
    return Trace(trace_id, span_id, bool(int(flags, 16) & 1))
