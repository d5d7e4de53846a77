"""The control socket: private, reachable however long its path is, and never in the way of the process behind it."""

import asyncio
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from archstone.errors import NotFoundError
from archstone.runtime import ControlAbsentError, ControlError, ControlServer, ask

pytestmark = pytest.mark.real_time


async def echo(verb: str, arguments: Mapping[str, Any]) -> object:
    match verb:
        case "missing":
            raise NotFoundError("no such thing: name another")
        case "bug":
            raise ZeroDivisionError("division by zero")
        case "slow":
            await asyncio.sleep(60)
    return {"verb": verb, **arguments}


async def test_a_request_is_answered(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "c.sock", echo)
    await server.open()
    assert await ask(tmp_path / "c.sock", "hello", {"a": ["ü", 1]}) == {"verb": "hello", "a": ["ü", 1]}
    answers = await asyncio.gather(*(ask(tmp_path / "c.sock", "hello", {"n": n}) for n in range(50)))
    assert [answer["n"] for answer in answers] == list(range(50))
    await server.close()


async def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "c.sock", echo)
    await server.open()
    assert stat.S_IMODE((tmp_path / "c.sock").stat().st_mode) == 0o600
    await server.close()
    assert not (tmp_path / "c.sock").exists()


async def test_a_path_longer_than_the_kernel_takes_is_reached_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    before = Path.cwd()
    server = ControlServer(folder / "control.sock", echo)
    await server.open()
    assert stat.S_IMODE((folder / "control.sock").stat().st_mode) == 0o600
    assert await ask(folder / "control.sock", "hello") == {"verb": "hello"}
    assert Path.cwd() == before
    await server.close()


async def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "c.sock").touch()
    server = ControlServer(tmp_path / "c.sock", echo)
    await server.open()
    assert await ask(tmp_path / "c.sock", "hello") == {"verb": "hello"}
    await server.close()


async def test_an_error_arrives_with_its_code_and_text(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "c.sock", echo)
    await server.open()
    with pytest.raises(ControlError, match=r"^no such thing: name another$") as caught:
        await ask(tmp_path / "c.sock", "missing")
    assert caught.value.cause_code == "archstone.not-found"
    with pytest.raises(ControlError, match="failed inside, ZeroDivisionError: division by zero; the log"):
        await ask(tmp_path / "c.sock", "bug")
    await server.close()


@pytest.mark.parametrize("line", [b"\n", b"hello\n", b"[]\n", b"{}\n", b'{"verb": 1, "arguments": 2}\n', b"\xff\n"])
async def test_a_line_that_is_no_request_is_refused(tmp_path: Path, line: bytes) -> None:
    server = ControlServer(tmp_path / "c.sock", echo)
    await server.open()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "c.sock")
    writer.write(line)
    answer = await reader.readline()
    assert b'"error"' in answer
    assert b"runtime.control" in answer
    writer.close()
    await server.close()


async def test_nobody_there_is_told_from_a_slow_answer(tmp_path: Path) -> None:
    with pytest.raises(ControlAbsentError, match=r"nobody answers .*No such file"):
        await ask(tmp_path / "c.sock", "hello")
    server = ControlServer(tmp_path / "c.sock", echo, grace_s=0.05)
    await server.open()
    with pytest.raises(ControlError, match=r"no answer to 'slow' within 0\.05 s") as caught:
        await ask(tmp_path / "c.sock", "slow", timeout_s=0.05)
    assert not isinstance(caught.value, ControlAbsentError)
    asking = asyncio.create_task(ask(tmp_path / "c.sock", "hello"))
    await asking
    await server.close()


async def test_closing_lets_an_answer_finish(tmp_path: Path) -> None:
    began = asyncio.Event()

    async def handler(verb: str, arguments: Mapping[str, Any]) -> object:
        began.set()
        await asyncio.sleep(0.1)
        return "done"

    server = ControlServer(tmp_path / "c.sock", handler)
    await server.open()
    asking = asyncio.create_task(ask(tmp_path / "c.sock", "work"))
    await began.wait()
    await server.close()
    assert await asking == "done"
