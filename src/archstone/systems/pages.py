"""What the pages of every system need: files whose address changes with them, and clients over the gateway's ways."""

import gzip
import hashlib
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from archstone.gateway import Response
from archstone.services import Operation, Transport, client, operations

__all__ = ["Assets", "Ways", "accepts_gzip"]

C = TypeVar("C")

_LONGEST_ACCEPT: Final = 500


class _Asset(NamedTuple):
    body: bytes
    packed: bytes | None
    """The same by gzip. None: it is not smaller then."""
    type: str
    version: str


class Assets:
    """The files of a folder, read once: styles, scripts, pictures."""

    def __init__(self, folder: Path) -> None:
        self._files = {file.name: _asset(file) for file in sorted(folder.iterdir()) if file.is_file()}

    def path(self, name: str) -> str:
        """Return where a page finds the file. It changes with the file, so that a browser may keep what it has."""
        return f"/assets/{name}?v={self._files[name].version}"

    def answer(self, name: str, version: str, *, packed: bool) -> Response | None:
        """Return the file, by gzip if that is `packed` and it gets smaller; None: there is no such."""
        asset = self._files.get(name)
        if asset is None:
            return None
        keep = b"public, max-age=31536000, immutable" if version == asset.version else b"no-cache"
        headers = [(b"content-type", asset.type.encode()), (b"cache-control", keep)]
        if asset.packed is None:
            return Response(200, headers, asset.body)
        headers.append((b"vary", b"accept-encoding"))
        if not packed:
            return Response(200, headers, asset.body)
        return Response(200, [*headers, (b"content-encoding", b"gzip")], asset.packed)


class Ways:
    """The ways to operations that a gateway is given, as a transport that hands each call to its own."""

    def __init__(self, routes: Sequence[tuple[Operation, Transport]]) -> None:
        self._ways: Mapping[str, Transport] = {operation.full_name: transport for operation, transport in routes}

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        """Make the call; see `Transport.call`."""
        return await self._ways[operation.full_name].call(operation, arguments)

    def client(self, contract: type[C]) -> C:
        """Return a client of a contract, all of whose operations must be among them; KeyError if one is not."""
        for each in operations(contract):
            _ = self._ways[each.full_name]
        return client(contract, self)


def accepts_gzip(pairs: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether the reader takes gzip: its headers say so, and not with the weight 0."""
    text = b",".join(value for name, value in pairs if name == b"accept-encoding")[:_LONGEST_ACCEPT].lower()
    wishes: dict[bytes, bytes] = {}
    for part in text.split(b","):
        name, _, weight = part.replace(b" ", b"").partition(b";q=")
        wishes[name] = weight or b"1"
    weight = wishes.get(b"gzip", wishes.get(b"*", b"0"))
    return weight.strip(b"0.") != b""


def _asset(file: Path) -> _Asset:
    body = file.read_bytes()
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    packed = gzip.compress(body, compresslevel=9, mtime=0)
    return _Asset(
        body, packed if len(packed) < len(body) else None, kind, hashlib.blake2s(body, digest_size=8).hexdigest()
    )
