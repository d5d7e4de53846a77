"""What a script of the administration asks for: JSON in place of a page."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic_core import to_json

from archstone.systems.shop.web.asgi import Response

__all__ = ["Data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Values that JSON can hold."""

    values: Mapping[str, object]

    def response(self) -> Response:
        """Return them as an answer that nobody keeps."""
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"private, no-store")]
        return Response(200, headers, to_json(self.values))
