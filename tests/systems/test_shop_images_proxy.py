"""The proxy: one fetch for all, bounds, failures that are remembered. The host is a function, and time virtual."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from image_host import picture
from PIL import Image

from archstone.observability import render
from archstone.resilience import SettingsError
from archstone.systems.shop.images import proxy as proxy_module
from archstone.systems.shop.images.bounds import ImageBounds
from archstone.systems.shop.images.failures import MOST, Failures, ImageError
from archstone.systems.shop.images.paths import WIDTHS, image_path, key_of, mark_of, read_path, srcset_of
from archstone.systems.shop.images.proxy import ImageProxy

URL = "https://pictures.example/1.jpg"


@dataclass
class Host:
    """Answers after a while, as told by address."""

    takes_s: float = 0.2
    asked: Counter[str] = field(default_factory=Counter)
    fails: dict[str, ImageError] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    inside: int = 0
    most_inside: int = 0

    async def fetch(self, address: str) -> bytes:
        self.asked[address] += 1
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.inside -= 1
        if address in self.fails:
            raise self.fails[address]
        return self.contents.get(address, JPEG)


JPEG = picture()
BOUNDS = ImageBounds(fetches=2, waiting=3)


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
async def proxy(tmp_path: Path, host: Host) -> AsyncIterator[ImageProxy]:
    async with ImageProxy(tmp_path / "images", host.fetch, BOUNDS) as proxy:
        yield proxy


def urls(count: int) -> list[str]:
    return [f"https://pictures.example/{number}.jpg" for number in range(count)]


async def outcome(proxy: ImageProxy, url: str = URL, width: int = 320) -> str:
    try:
        await proxy.image(url, width)
    except ImageError as error:
        return error.outcome
    return "ok"


def size(content: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(content)).size


async def test_all_who_want_a_picture_share_one_fetch_whatever_the_width(proxy: ImageProxy, host: Host) -> None:
    found = await asyncio.gather(*(proxy.image(URL, width) for width in WIDTHS for _ in range(10)))
    assert {size(content) for content in found} == {(320, 240), (640, 480), (800, 600)}
    assert host.asked[URL] == 1


async def test_what_was_fetched_is_kept_for_other_widths_and_other_processes(
    tmp_path: Path, proxy: ImageProxy, host: Host
) -> None:
    small = await proxy.image(URL, 320)
    async with ImageProxy(tmp_path / "images", host.fetch, BOUNDS) as other:
        assert await other.image(URL, 320) == small
        assert size(await other.image(URL, 640)) == (640, 480)
    assert host.asked[URL] == 1


async def test_whoever_is_cancelled_leaves_the_fetch_to_the_others(proxy: ImageProxy, host: Host) -> None:
    first, second = (asyncio.create_task(proxy.image(URL, 320)) for _ in range(2))
    await asyncio.sleep(0.1)
    first.cancel()
    assert size(await second) == (320, 240)
    assert first.cancelled()
    assert host.asked[URL] == 1


async def test_a_fetch_for_which_nobody_waits_goes_on(proxy: ImageProxy, host: Host) -> None:
    task = asyncio.create_task(proxy.image(URL, 320))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.sleep(1)
    host.fails[URL] = ImageError("answer", "gone")
    assert await outcome(proxy) == "ok"


async def test_so_many_are_fetched_at_once_and_so_many_wait_and_no_more(proxy: ImageProxy, host: Host) -> None:
    tasks = [asyncio.create_task(outcome(proxy, url)) for url in urls(8)]
    assert [await task for task in tasks] == ["ok"] * 5 + ["full"] * 3
    assert host.most_inside == 2
    assert await outcome(proxy, urls(8)[7]) == "ok"  # which was not remembered as a failure


async def test_what_is_kept_is_shown_while_the_house_is_full(proxy: ImageProxy, host: Host) -> None:
    await proxy.image(URL, 320)
    host.takes_s = 100
    tasks = [asyncio.create_task(outcome(proxy, url)) for url in urls(9)]
    await asyncio.sleep(1)
    assert await outcome(proxy) == "ok"
    await asyncio.gather(*tasks)


async def test_one_is_made_small_at_a_time(proxy: ImageProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0

    async def slowly(function: object, *args: object, **kwargs: object) -> bytes:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.3)
        inside -= 1
        return b"small"

    class Slow:
        """`asyncio`, but that work in threads takes its time."""

        to_thread = staticmethod(slowly)
        Semaphore, Lock = asyncio.Semaphore, asyncio.Lock

    monkeypatch.setattr(proxy_module, "asyncio", Slow)
    assert await asyncio.gather(*(proxy.image(url, 320) for url in urls(5))) == [b"small"] * 5
    assert most == 1


async def test_a_picture_that_failed_is_left_alone_for_ten_minutes(proxy: ImageProxy, host: Host) -> None:
    host.fails[URL] = ImageError("answer", "status 404", host="pictures.example")
    assert await outcome(proxy) == "answer"
    del host.fails[URL]
    for _ in range(5):
        assert await outcome(proxy, width=640) == "known"
    assert host.asked[URL] == 1
    await asyncio.sleep(598)
    assert await outcome(proxy) == "known"
    await asyncio.sleep(3)
    assert await outcome(proxy) == "ok"
    assert await outcome(proxy, urls(3)[2]) == "ok"  # another picture of the host was never in doubt


async def test_a_dead_host_is_asked_once_for_all_its_pictures_and_again_after_two_minutes(
    proxy: ImageProxy, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.takes_s = 2
    for url in urls(20):
        host.fails[url] = ImageError("unreachable", "it takes no connection", host="pictures.example", dead=True)
    begun_s = asyncio.get_running_loop().time()
    told = Counter([await outcome(proxy, url) for url in urls(20)])
    assert told == {"unreachable": 1, "known": 19}
    assert host.asked.total() == 1
    assert asyncio.get_running_loop().time() - begun_s < 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "pictures of a host" in line]
    assert len(lines) == 1
    assert "pictures.example" in lines[0]
    assert ".jpg" not in lines[0]
    await asyncio.sleep(121)
    host.fails.clear()
    assert await outcome(proxy, urls(20)[0]) == "ok"


async def test_those_who_wait_for_a_host_that_turns_out_dead_are_told_at_once(proxy: ImageProxy, host: Host) -> None:
    host.takes_s = 2
    for url in urls(5):
        host.fails[url] = ImageError("unreachable", "no connection in 2 s", host="pictures.example", dead=True)
    begun_s = asyncio.get_running_loop().time()
    told = await asyncio.gather(*(outcome(proxy, url) for url in urls(5)))
    assert sorted(told) == ["known"] * 3 + ["unreachable"] * 2
    assert asyncio.get_running_loop().time() - begun_s < 3


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"<svg/>", "kind"), (JPEG[: len(JPEG) // 2], "broken"), (picture("PNG", (100, 100)), "large")],
)
async def test_what_cannot_be_shown_is_not_kept(tmp_path: Path, host: Host, content: bytes, told: str) -> None:
    host.contents[URL] = content
    bounds = ImageBounds(pixels=9_999 if told == "large" else 1_000_000)
    async with ImageProxy(tmp_path / "images", host.fetch, bounds) as proxy:
        assert await outcome(proxy) == told
        assert await outcome(proxy) == "known"
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["CACHEDIR.TAG"]
    assert f'shop_image_fetches_total{{outcome="{told}"}}' in render()


async def test_leaving_it_ends_what_is_under_way(tmp_path: Path, host: Host) -> None:
    host.takes_s = 1_000
    async with ImageProxy(tmp_path / "images", host.fetch, BOUNDS) as proxy:
        waiting = asyncio.create_task(proxy.image(URL, 320))
        await asyncio.sleep(1)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert host.inside == 0


async def test_a_disk_that_takes_nothing_is_told_and_not_held_against_the_host(
    tmp_path: Path, proxy: ImageProxy, host: Host
) -> None:
    await proxy.image(URL, 320)
    other = urls(3)[2]
    (tmp_path / "images" / key_of(other)).mkdir()
    assert await outcome(proxy, other) == "disk"
    (tmp_path / "images" / key_of(other)).rmdir()
    assert await outcome(proxy, other) == "ok"


async def test_the_number_of_remembered_failures_is_bounded() -> None:
    known = Failures()
    for number in range(MOST + 1):
        try:
            raise ImageError("answer", "status 404") from ValueError(number)
        except ImageError as failure:
            known.note(str(number), failure, keep_s=60)
    assert known.find("0") is None
    error = known.find("1")
    assert error is not None
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)  # which hold pictures
    assert known.find("1") is not None
    await asyncio.sleep(60)
    assert known.find("2") is None


def test_bounds_tell_all_their_faults() -> None:
    with pytest.raises(SettingsError, match=r"original_bytes=0 must be above 0; .*fetches=0 must be at least 1"):
        ImageBounds(original_bytes=0, fetches=0, fetch_s=float("nan"))


def test_a_path_names_product_number_mark_and_width_and_is_read_back() -> None:
    path = image_path("KIT-001", 10, URL, 640)
    assert path == f"/images/KIT-001/10-{mark_of(URL)}-640"
    assert read_path(path) == ("KIT-001", 10, mark_of(URL), 640)
    assert srcset_of("KIT-001", 1, URL).count(", ") == len(WIDTHS) - 1
    assert mark_of(URL) != mark_of(f"{URL}?")
    for wrong in (path.replace("640", "641"), path.replace("/10-", "/11-"), path.replace("/10-", "/0-"), f"{path}/",
                  path.replace("KIT", "kit"), path.replace("/images", ""), path.upper()):  # fmt: skip
        assert read_path(wrong) is None
