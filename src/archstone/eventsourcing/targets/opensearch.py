"""An index of a server with the OpenSearch API, Elasticsearch's too, as the target of a projection.

Versions are the server's own (`version_type=external`). It forgets that of a deleted document after a while
(`index.gc_deletes`, 60 s unless set): a projection that hangs for longer could bring one back.
"""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

import orjson

from archstone.eventsourcing.errors import TargetError
from archstone.eventsourcing.external import Document

if TYPE_CHECKING:
    import httpx

__all__ = ["OpenSearchTarget"]

_CONFLICT: Final = 409
"""The server has a version that is as new or newer."""
_GONE: Final = 404
"""What is to be deleted was not there."""
_TOLD: Final = 200


class OpenSearchTarget:
    """One index. `async with` opens the connections; nothing is created: make the index, with its mapping, before."""

    def __init__(
        self, url: str, *, index: str, timeout_s: float = 10.0, client: "httpx.AsyncClient | None" = None
    ) -> None:
        """Describe it.

        Args:
            url: Of the server, such as `https://user:password@search:9200`.
            index: Its name.
            timeout_s: Seconds for one request. Above 0.
            client: One of your own, with the server as its base URL, which you close. None: one is made.
        """
        self.index = index
        self._url = url
        self._timeout_s = timeout_s
        self._client = client
        self._own: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Make the client.

        Raises:
            ImportError: The library `httpx` is not installed.
        """
        if self._client is None:
            try:
                import httpx  # noqa: PLC0415 - only for those who have such a target
            except ImportError as error:
                message = "a target with the OpenSearch API needs httpx: pip install 'archstone[opensearch]'"
                raise ImportError(message, name="httpx") from error
            self._client = self._own = httpx.AsyncClient(base_url=self._url, timeout=self._timeout_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client, if it was made here."""
        if self._own is not None:
            await self._own.aclose()
            self._client = self._own = None

    async def write(self, documents: Sequence[Document]) -> None:
        """Write documents in one bulk request.

        Raises:
            TargetError: The server cannot be reached or refuses; some may have been written.
        """
        if self._client is None:
            raise TargetError(self.index, "it is not open: use it inside `async with`")
        body = b"\n".join([*_lines(documents), b""])
        headers = {"content-type": "application/x-ndjson"}
        try:
            answer = await self._client.post(f"/{self.index}/_bulk", content=body, headers=headers)
        except Exception as error:
            raise TargetError(self.index, f"it cannot be reached: {type(error).__name__}") from error
        if answer.status_code != 200:
            raise TargetError(self.index, f"it answers {answer.status_code}: {answer.text[:_TOLD]}")
        for item in answer.json()["items"]:
            _check(self.index, cast("dict[str, dict[str, Any]]", item))


def _lines(documents: Sequence[Document]) -> Iterator[bytes]:
    for each in documents:
        act = "delete" if each.body is None else "index"
        yield orjson.dumps({act: {"_id": each.id, "version": each.version, "version_type": "external"}})
        if each.body is not None:
            yield orjson.dumps(each.body)


def _check(index: str, item: dict[str, dict[str, Any]]) -> None:
    """Raise TargetError for a document that was not written, unless a newer one was."""
    [(act, told)] = item.items()
    status = int(told["status"])
    if status < 300 or status == _CONFLICT or (act == "delete" and status == _GONE):
        return
    fault: dict[str, Any] = told.get("error") or {}
    raise TargetError(index, f"document {told['_id']!r} is refused with {status} {fault.get('type', '')}")
