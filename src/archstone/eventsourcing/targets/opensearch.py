"""An index of a server with the OpenSearch API, Elasticsearch's too, as the target of a projection.

Versions are the server's own (`version_type=external`). It forgets that of a deleted document after a while
(`index.gc_deletes`, 60 s unless set): a projection that hangs for longer could bring one back.
"""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

from archstone.eventsourcing.errors import TargetError
from archstone.eventsourcing.external import Document

__all__ = ["OpenSearchClient", "OpenSearchTarget"]

_CONFLICT: Final = 409
"""The server has a version that is as new or newer."""
_GONE: Final = 404
"""What is to be deleted was not there."""


class OpenSearchClient(Protocol):
    """What is needed of `opensearchpy.AsyncOpenSearch`; that of Elasticsearch has it too."""

    async def bulk(self, *, body: Any, index: str) -> Any:
        """Send acts, each followed by its document where it has one; return what the server says of each."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class OpenSearchTarget:
    """One index. `async with` opens the connections; nothing is created: make the index, with its mapping, before."""

    def __init__(
        self, url: str, *, index: str, timeout_s: float = 10.0, client: OpenSearchClient | None = None
    ) -> None:
        """Describe it.

        Args:
            url: Of the server, such as `https://user:password@search:9200`.
            index: Its name.
            timeout_s: Seconds for one request. Above 0.
            client: One of your own, which you close: with several hosts, or signed requests. None: one is made.
        """
        self.index = index
        self._url = url
        self._timeout_s = timeout_s
        self._client = client
        self._own: OpenSearchClient | None = None

    async def __aenter__(self) -> Self:
        """Make the client.

        Raises:
            ImportError: The library `opensearch-py` is not installed.
        """
        if self._client is None:
            try:
                from opensearchpy import AsyncOpenSearch  # noqa: PLC0415 - only for those who have such a target
            except ImportError as error:
                message = "a target with the OpenSearch API needs its client: pip install 'archstone[opensearch]'"
                raise ImportError(message, name="opensearchpy") from error
            made: Any = AsyncOpenSearch(hosts=[self._url], timeout=self._timeout_s, max_retries=0)
            self._client = self._own = cast("OpenSearchClient", made)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client, if it was made here."""
        if self._own is not None:
            await self._own.close()
            self._client = self._own = None

    async def write(self, documents: Sequence[Document]) -> None:
        """Write documents in one bulk request.

        Raises:
            TargetError: The server cannot be reached or refuses; some may have been written.
        """
        if self._client is None:
            raise TargetError(self.index, "it is not open: use it inside `async with`")
        try:
            answer = await self._client.bulk(body=[*_lines(documents)], index=self.index)
        except Exception as error:
            status = getattr(error, "status_code", None)
            why = f"it answers {status}" if isinstance(status, int) else "it cannot be reached"
            raise TargetError(self.index, f"{why}: {type(error).__name__}") from error  # its text may have the URL
        for item in answer["items"]:
            _check(self.index, cast("dict[str, dict[str, Any]]", item))


def _lines(documents: Sequence[Document]) -> Iterator[object]:
    for each in documents:
        act = "delete" if each.body is None else "index"
        yield {act: {"_id": each.id, "version": each.version, "version_type": "external"}}
        if each.body is not None:
            yield each.body


def _check(index: str, item: dict[str, dict[str, Any]]) -> None:
    """Raise TargetError for a document that was not written, unless a newer one was."""
    [(act, told)] = item.items()
    status = int(told["status"])
    if status < 300 or status == _CONFLICT or (act == "delete" and status == _GONE):
        return
    fault: dict[str, Any] = told.get("error") or {}
    raise TargetError(index, f"document {told['_id']!r} is refused with {status} {fault.get('type', '')}")
