"""Spare a reader what it has already: entity tags on the answers of queries.

Promise: the tag changes when the body changes. It is weak (`W/`), because the packed and the plain form share it.
The query runs all the same; what is spared is the way, not the work.

Source: RFC 9110, sections 8.8.3 and 13.1.2.
"""

import re
from hashlib import blake2b
from typing import Final

from archstone.services.http import Response

__all__ = ["matches", "tag", "unless_known"]

_TAG: Final = re.compile(rb'(?:W/)?("[!#-~\x80-\xff]*")')


def tag(body: bytes) -> bytes:
    """Return the entity tag of a body."""
    return b'W/"' + blake2b(body, digest_size=12).hexdigest().encode() + b'"'


def matches(if_none_match: bytes, entity_tag: bytes) -> bool:
    """Whether a header `If-None-Match` names this tag, by weak comparison; `*` names every one."""
    if if_none_match == entity_tag or if_none_match.strip() == b"*":
        return True
    return entity_tag.removeprefix(b"W/") in _TAG.findall(if_none_match)


def unless_known(response: Response, if_none_match: bytes | None) -> Response:
    """Return the answer with its tag, or 304 without a body if the reader holds this very answer."""
    entity_tag = tag(response.body)
    if if_none_match is not None and matches(if_none_match, entity_tag):
        kept = [pair for pair in response.headers if pair[0] in (b"cache-control", b"vary")]
        return Response(304, [*kept, (b"etag", entity_tag)])
    response.headers.append((b"etag", entity_tag))
    return response
