"""Kept pictures: whole or not there, bounded, those read last stay, across restarts."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archstone.systems.shop.images.failures import ImageError
from archstone.systems.shop.images.store import ImageStore

A, B, C = ("a" * 32, "b" * 32, f"{'c' * 32}-320")
ROOM = 10_000


def store(folder: Path, **options: int) -> ImageStore:
    return ImageStore(folder / "images", **{"most_bytes": ROOM, **options})


def files(folder: Path) -> set[str]:
    return {file.name for file in (folder / "images").iterdir()} - {"CACHEDIR.TAG"}


async def test_what_is_put_is_there_and_outlives_the_process(tmp_path: Path) -> None:
    first = store(tmp_path)
    assert await first.get(A) is None
    await first.put(A, b"one")
    await first.put(C, b"three")
    assert await first.get(A) == b"one"
    second = store(tmp_path)
    assert [await second.get(name) for name in (A, B, C)] == [b"one", None, b"three"]
    assert second.kept_bytes == first.kept_bytes == 16 + 3 + 16 + 5
    assert (tmp_path / "images" / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    assert {(tmp_path / "images" / name).stat().st_mode & 0o077 for name in files(tmp_path)} == {0}


async def test_nothing_is_touched_before_it_is_needed(tmp_path: Path) -> None:
    store(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_what_was_read_longest_ago_makes_room(tmp_path: Path) -> None:
    kept = store(tmp_path)
    for name in (A, B, C):
        await kept.put(name, bytes(3_000))
        await asyncio.sleep(1)
    assert await kept.get(A)
    await kept.put("d" * 32, bytes(3_000))
    assert files(tmp_path) == {A, C, "d" * 32}
    assert kept.kept_bytes <= ROOM


async def test_the_order_of_reading_outlives_the_process(tmp_path: Path) -> None:
    first = store(tmp_path)
    for name in (A, B, C):
        await first.put(name, bytes(3_000))
        await asyncio.sleep(1)
    assert await first.get(A)
    await asyncio.sleep(1)
    second = store(tmp_path)
    await second.put("d" * 32, bytes(3_000))
    assert files(tmp_path) == {A, C, "d" * 32}
    assert await store(tmp_path, most_bytes=4_000).get("d" * 32)
    assert files(tmp_path) == {"d" * 32}


async def test_their_number_is_bounded_too(tmp_path: Path) -> None:
    kept = store(tmp_path, most_files=2)
    for name in (A, B, C):
        await kept.put(name, b"")
    assert files(tmp_path) == {B, C}


async def test_what_is_larger_than_the_room_is_not_kept(tmp_path: Path) -> None:
    kept = store(tmp_path)
    await kept.put(A, bytes(ROOM))
    assert await kept.get(A) is None
    assert files(tmp_path) == set()
    assert kept.kept_bytes == 0


@pytest.mark.parametrize("harm", ["half", "empty", "flipped", "gone", "folder"])
async def test_a_damaged_file_is_never_served_and_can_be_put_anew(tmp_path: Path, harm: str) -> None:
    await store(tmp_path).put(A, b"a picture" * 100)
    file = tmp_path / "images" / A
    content = file.read_bytes()
    match harm:
        case "half":
            file.write_bytes(content[: len(content) // 2])
        case "empty":
            file.write_bytes(b"")
        case "flipped":
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "gone":
            pass
        case "folder":
            file.unlink()
            file.mkdir()
    kept = store(tmp_path)
    await kept.get(B)
    if harm == "gone":
        file.unlink()
    assert await kept.get(A) is None
    if harm == "folder":
        with pytest.raises(ImageError, match="cannot be kept"):
            await kept.put(A, b"new")
        assert files(tmp_path) == {A}
    else:
        await kept.put(A, b"new")
        assert await kept.get(A) == b"new"


async def test_what_a_crash_left_half_written_is_swept_and_what_is_strange_stays(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f".{A}.tmp").write_bytes(b"half")
    (tmp_path / "images" / "notes.txt").write_bytes(b"mine")
    assert await store(tmp_path, most_bytes=1).get(A) is None
    assert files(tmp_path) == {"notes.txt"}


async def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file")
    with pytest.raises(ImageError, match="its folder cannot be used"):
        await store(tmp_path).get(A)


@pytest.mark.real_time
async def test_a_process_that_is_killed_while_it_writes_leaves_whole_files_only(tmp_path: Path) -> None:
    program = f"""
import asyncio, pathlib
from archstone.systems.shop.images.store import ImageStore
async def main():
    store = ImageStore(pathlib.Path({str(tmp_path / "images")!r}), most_bytes=50_000_000)
    for number in range(100_000):
        await store.put(f"{{number % 50:032x}}", bytes([number % 251]) * 300_000)
        print(number, flush=True)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(60):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    kept = store(tmp_path, most_bytes=50_000_000)
    found = [await kept.get(f"{number:032x}") for number in range(50)]
    assert all(content is not None and content == content[:1] * 300_000 for content in found)
    assert not [name for name in files(tmp_path) if name.endswith(".tmp")]
