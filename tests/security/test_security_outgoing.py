"""Requests to elsewhere that are made, and what they bring."""

import asyncio
import socket
from collections.abc import Awaitable, Iterator

import pytest
from image_host import ImageHost, image_host

from archstone.security.outgoing import Allowed, Outgoing, OutgoingBounds, OutgoingError

BOUNDS = OutgoingBounds(answer_bytes=200_000, total_s=1.0, connect_s=0.5)


@pytest.fixture(scope="module")
def host() -> Iterator[ImageHost]:
    with image_host() as host:
        yield host


async def here(name: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def outgoing(*allowed: str, **more: object) -> Outgoing:
    return Outgoing(Allowed.parse(",".join(allowed)), BOUNDS, **more)  # type: ignore[arg-type]


async def fault(asking: Awaitable[object]) -> str:
    with pytest.raises(OutgoingError) as told:
        await asking
    return told.value.fault


@pytest.mark.real_time
async def test_what_is_public_is_asked_and_told_whole(host: ImageHost) -> None:
    found = await outgoing(host.authority).fetch(host.url("/missing"))
    assert found.status == 404
    again = await outgoing(host.authority).fetch(host.url(f"/to/{host.url('/there')}"))
    assert (again.status, again.url) == (200, host.url("/there"))
    assert again.headers["content-type"] == "image/jpeg"
    head = await outgoing(host.authority).fetch(host.url("/picture"), method="HEAD")
    assert (head.status, head.body) == (200, b"")


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        proxy.settimeout(0.2)

        async def ask() -> str:
            return await fault(outgoing(resolve=here).fetch("http://a.test/"))

        assert asyncio.run(ask()) == "refused"
        with pytest.raises(TimeoutError):
            proxy.accept()
