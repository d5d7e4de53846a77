"""Refusals of a running system are told to whatever it provides that watches."""

from pathlib import Path

import pytest

from archstone.context import NOBODY, Denied, Principal
from archstone.errors import ForbiddenError, NotSignedInError
from archstone.gateway import Gateway
from archstone.runtime import running
from archstone.security import Role, Roles
from archstone.services import Contract, Service, System, Watcher, query
from archstone.services.http import ask


class Desk(Contract, version="1.0"):
    @query("/files", public=True, requires="files:read")
    async def files(self) -> str: ...


class DeskService(Service, Desk):
    async def files(self) -> str:
        return "files"


class Watch:
    def __init__(self) -> None:
        self.seen: list[Denied] = []

    def denied(self, denied: Denied, /) -> None:
        self.seen.append(denied)
        raise OSError("the disk is full")


async def test_what_a_system_provides_is_told_and_may_fail(tmp_path: Path) -> None:
    watch = Watch()
    assert isinstance(watch, Watcher)
    clerk = Role("clerk", may=("files:read",))
    system = System(
        "office", services=[DeskService], gateway=Gateway(), roles=Roles(clerk), provide={Watch: lambda _: watch}
    )
    async with running(system, data=tmp_path) as run:
        assert await run.client(Desk, as_=Principal("cleo", frozenset({"clerk"}))).files() == "files"
        assert watch.seen == []
        with pytest.raises(ForbiddenError):
            await run.client(Desk, as_=Principal("eve", frozenset({"visitor"}))).files()
        with pytest.raises(NotSignedInError):
            await run.client(Desk, as_=NOBODY).files()
        assert (await ask(run.asgi, "GET", "/api/v1/files")).status == 401
    assert [(each.what, each.why, each.principal.id) for each in watch.seen] == [
        ("Desk.files", "no permission", "eve"),
        ("Desk.files", "not signed in", ""),
        ("Desk.files", "not signed in", ""),
    ]
