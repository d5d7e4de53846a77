"""Attacks by what is sent: HTML that runs, names that deceive, paths that climb, files that are none, bombs."""

import asyncio
import gzip
import io
import os
import re
import struct
import tempfile
import threading
import zipfile
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nh3
import pytest
from attack_stage import caught, caught_later
from clam_stand_in import EICAR, clamd
from image_host import bomb, picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from archstone.errors import ConfigError
from archstone.security.input import (
    ArchiveBounds,
    ClamAv,
    HtmlPolicy,
    ImageBounds,
    InputError,
    ScannerError,
    Uploads,
    check_zip,
    gunzipped,
    made_anew,
    normal_email,
    safe_join,
    safe_name,
    text_only,
)
from archstone.security.input import uploads as uploads_module

POST = HtmlPolicy()


# HTML


RUNS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="java\tscript:alert(1)">x</a>',
    '<a href="&#106;avascript:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    '<p style="background:url(javascript:alert(1))">x</p>',
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<base href='https://evil.test/'>",
    "<p onclick=alert(1)>x</p>",
    "<<script>script>alert(1)<</script>/script>",
    "<a href='//evil.test'>x</a>",
    "<form action=https://evil.test><input name=password></form>",
    "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<meta http-equiv=refresh content='0;url=https://evil.test'>",
    "<p id=csrf_token>x</p>",
]


def by_pattern(text: str) -> str:
    """Weak: takes scripts out with a pattern."""
    return re.sub(r"(?i)<script.*?</script>", "", text)


def harmless(clean: Callable[[str], str], text: str) -> None:
    found = clean(text).lower()
    tags = re.findall(r"<\s*/?\s*([a-z]+)([^>]*)>", found)
    assert {name for name, _ in tags} <= POST.tags
    assert not [more for _, more in tags if re.search(r"\bon\w+\s*=|javascript|data:|style\s*=|\bid\s*=|evil", more)]


@pytest.mark.parametrize("text", RUNS)
def test_attack_html_that_runs(text: str) -> None:
    harmless(POST.clean, text)
    assert POST.clean(POST.clean(text)) == POST.clean(text)
    assert "<" not in text_only(text)


def test_attack_html_that_runs_against_a_pattern() -> None:
    escaped = [text for text in RUNS if _caught(text)]
    assert len(escaped) >= 15, "a pattern stops next to nothing of it"


def _caught(text: str) -> bool:
    try:
        harmless(by_pattern, text)
    except AssertionError:
        return True
    return False


def test_attack_a_policy_that_cannot_be_made_safe() -> None:
    for wrong in (
        {"tags": frozenset({"script"})},
        {"tags": frozenset({"svg"})},
        {"attributes": {"p": frozenset({"onclick"})}},
        {"attributes": {"p": frozenset({"style"})}},
        {"schemes": frozenset({"javascript"})},
    ):
        with pytest.raises(ConfigError, match="HTML policy"):
            HtmlPolicy(**wrong)  # type: ignore[arg-type]
    # Weak: the library takes the owner's word, and what runs stays in.
    weak = nh3.clean("<p onclick=alert(1)>x</p>", tags={"p"}, attributes={"p": {"onclick"}})
    caught(lambda: harmless(lambda text: weak, "x"))
    weak = nh3.clean("<a href='javascript:alert(1)'>x</a>", tags={"a"}, url_schemes={"javascript"})
    caught(lambda: harmless(lambda text: weak, "x"))
    with pytest.raises(InputError, match="large"):
        HtmlPolicy(most_chars=10).clean("x" * 11)


# Addresses


GUIDE = r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$"


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.org\r\nBcc: all@example.org",
        "ann@example.org,bob@example.org",
        "<ann@example.org>",
        "Ann <a@example.org>",
        "ann@[127.0.0.1]",
        "ann@localhost",
        "ann@example.invalid",
        "a" * 65 + "@example.org",
        "ann@exa mple.org",
        "ann@-a.org",
        '"very unusual"@example.org',
        "@example.org",
        "ann",
        "a@" + "b" * 250 + ".org",
        "ann@example..org",
        "ann\u202e@example.org",
    ],
)
def test_attack_an_address_that_would_send_more_or_elsewhere(text: str) -> None:
    def check(look: Callable[[str], object]) -> None:
        with pytest.raises(InputError, match="email"):
            look(text)

    check(normal_email)
    caught(lambda: check(str.strip))  # weak: whatever is typed
    if text in {"ann@example..org", "ann@-a.org", "ann@example.invalid"}:
        assert re.match(GUIDE, text), "weak: the guide's pattern lets it through"


# Paths and names


CLIMBS = [
    "../secret",
    "a/../../secret",
    "/etc/passwd",
    "..\\secret",
    "a/..",
    ".",
    "..",
    "",
    "a//b",
    "./a",
    "\0",
    "a\0.png",
    "C:\\x",
    "c:x",
    "~/x\n",
    "con",
    "NUL.txt",
    "lpt1",
    "a/./b",
    "\udc80",
]


@pytest.mark.parametrize("part", CLIMBS)
def test_attack_a_path_that_climbs(tmp_path: Path, part: str) -> None:
    with pytest.raises(InputError):
        safe_join(tmp_path / "inside", part)


def test_attack_a_path_that_climbs_against_the_usual_join(tmp_path: Path) -> None:
    inside = tmp_path / "inside"

    def check(join: Callable[[Path, str], Path]) -> None:
        for part in ("../secret", "/etc/passwd"):
            try:
                found = join(inside, part)
            except InputError:
                continue
            assert Path(os.path.normpath(found)).is_relative_to(inside)

    check(safe_join)
    caught(lambda: check(lambda root, part: root / part))
    caught(lambda: check(lambda root, part: Path(str(root / part.replace("../", "", 1).replace("./", "")))))


def test_attack_a_link_that_leads_out(tmp_path: Path) -> None:
    inside, secret = tmp_path / "inside", tmp_path / "inside-not"
    inside.mkdir()
    secret.mkdir()
    (inside / "link").symlink_to(secret)

    def check(join: Callable[..., Path]) -> None:
        with pytest.raises(InputError):
            join(inside, "link", "file")

    check(safe_join)
    caught(lambda: check(Path))  # weak: looks at words, and the words are fine
    with pytest.raises(InputError):
        safe_join(inside, "../inside-not/x")
    assert safe_join(inside, "a", "b/c.txt") == inside.resolve() / "a" / "b" / "c.txt"
    assert safe_join(inside, "\u00fcbung.txt").name == "\u00fcbung.txt"


def test_attack_a_name_that_shows_another_ending() -> None:
    def check(name: Callable[[str], str]) -> None:
        assert "\u202e" not in name("invoice\u202efdp.exe")
        assert "/" not in name("../../etc/passwd")
        assert "\r" not in name("a\r\nX-Evil: 1.txt")

    check(safe_name)
    caught(lambda: check(lambda offered: Path(offered.replace("\\", "/")).name))
    assert safe_name("C:\\temp\\..\\Rechnung.pdf") == "Rechnung.pdf"
    assert safe_name(".htaccess") == "htaccess"
    assert safe_name("con.txt") == "_con.txt"
    assert safe_name('a"b<c>.png') == "a_b_c_.png"
    assert safe_name("...") == safe_name(None) == safe_name("\u200b") == "file"
    long = safe_name("\u00fc" * 300 + ".jpeg")
    assert len(long.encode()) <= 200
    assert long.endswith("\u00fc.jpeg")


# Archives


def zipped(path: Path, *entries: tuple[str, bytes], **more: object) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def by_what_it_says(file: Path, bounds: ArchiveBounds) -> None:
    """Weak: adds up the sizes that the archive claims."""
    with zipfile.ZipFile(file) as archive:
        if sum(each.file_size for each in archive.infolist()) > bounds.unpacked_bytes:
            raise InputError("bomb", "it says so itself")


BOUNDS = ArchiveBounds(unpacked_bytes=20_000_000, entries=50)


def refuses(check: Callable[[Path, ArchiveBounds], None], file: Path, fault: str) -> None:
    with pytest.raises(InputError) as told:
        check(file, BOUNDS)
    assert told.value.fault == fault


def test_attack_a_small_archive_with_gigabytes_inside(tmp_path: Path) -> None:
    zeros = zipped(tmp_path / "a.zip", ("zeros", bytes(15_000_000)))
    refuses(check_zip, zeros, "bomb")
    caught(lambda: refuses(by_what_it_says, zeros, "bomb"))
    refuses(check_zip, zipped(tmp_path / "b.zip", *((f"f{n}", os.urandom(500_000)) for n in range(45))), "bomb")
    refuses(check_zip, zipped(tmp_path / "c.zip", *((f"f{n}", b"") for n in range(51))), "bomb")


def test_attack_entries_that_share_their_bytes(tmp_path: Path) -> None:
    """Fifield's bomb: many entries of the central directory point at one and the same packed content."""
    whole = zipped(tmp_path / "one.zip", ("f0", os.urandom(1_000))).read_bytes()
    at = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entry = whole[at:end]
    many = b"".join(entry for _ in range(40))
    tail = bytearray(whole[end:])
    struct.pack_into("<HHII", tail, 8, 40, 40, len(many), at)
    file = tmp_path / "overlapping.zip"
    file.write_bytes(whole[:at] + many + bytes(tail))
    assert len(zipfile.ZipFile(file).infolist()) == 40
    refuses(check_zip, file, "bomb")
    caught(lambda: refuses(by_what_it_says, file, "bomb"))


@pytest.mark.parametrize("name", ["../evil.sh", "/etc/cron.d/evil", "a/../../evil", "..\\evil"])
def test_attack_an_archive_that_writes_beside_its_folder(tmp_path: Path, name: str) -> None:
    file = zipped(tmp_path / "slip.zip", (name, b"x"))
    refuses(check_zip, file, "path")
    caught(lambda: refuses(by_what_it_says, file, "path"))


def test_attack_an_archive_with_a_link(tmp_path: Path) -> None:
    file = tmp_path / "link.zip"
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    refuses(check_zip, file, "path")
    caught(lambda: refuses(by_what_it_says, file, "path"))


def unpacked(pieces: Iterable[bytes], bounds: ArchiveBounds = BOUNDS) -> int:
    return sum(len(piece) for piece in gunzipped(pieces, bounds))


def test_attack_a_gzip_bomb() -> None:
    def check(unpack: Callable[[bytes], int]) -> None:
        with pytest.raises(InputError, match="bomb"):
            unpack(gzip.compress(bytes(30_000_000)))

    check(lambda packed: unpacked([packed]))
    caught(lambda: check(lambda packed: len(gzip.decompress(packed))))


# Pictures


def with_place() -> bytes:
    image = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x010F] = "SECRET CAMERA"
    exif[0x0112] = 6  # turned by a quarter
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_attack_what_a_picture_tells_beside_its_pixels() -> None:
    def check(make: Callable[[bytes], bytes]) -> None:
        found = make(with_place())
        assert b"SECRET CAMERA" not in found
        assert Image.open(io.BytesIO(found)).size == (20, 40), "it stands upright"

    check(lambda content: made_anew(content, "image/jpeg").content)
    caught(lambda: check(lambda content: content))


@pytest.mark.parametrize(("name", "kind"), [("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("PNG", "image/png")])
def test_attack_a_picture_with_a_comment(name: str, kind: str) -> None:
    out, said = io.BytesIO(), b"taken at Mill Lane 1"
    more = {"pnginfo": PngInfo()} if name == "PNG" else {"comment": said}
    if name == "PNG":
        more["pnginfo"].add_text("Comment", said.decode())
    Image.new("RGB", (40, 20), "red").save(out, name, **more)
    assert said in out.getvalue()

    def check(make: Callable[[bytes], bytes]) -> None:
        assert said not in make(out.getvalue())

    def weak(content: bytes) -> bytes:
        """Weak: decodes and encodes, with what the decoder has found beside the pixels."""
        again = io.BytesIO()
        with Image.open(io.BytesIO(content)) as image:
            image.save(again, name, pnginfo=more.get("pnginfo"))
        return again.getvalue()

    check(lambda content: made_anew(content, kind).content)
    caught(lambda: check(weak))


def test_attack_a_picture_that_is_another_file_too() -> None:
    """A polyglot: a picture with an archive, or a page, behind its end."""

    def check(make: Callable[[bytes], bytes]) -> None:
        for tail in (b"PK\x03\x04 archive", b"<script>alert(1)</script>", b"<?php system($_GET[0]); ?>"):
            assert tail not in make(picture("PNG", (40, 40)) + tail)

    check(lambda content: made_anew(content, "image/png").content)
    caught(lambda: check(lambda content: content))


def test_attack_a_picture_of_a_gigapixel() -> None:
    content = bomb(9_000, 9_000)

    def check(take: Callable[[bytes], object]) -> None:
        with pytest.raises(InputError, match="bomb"):
            take(content)

    def by_bytes(content: bytes) -> None:
        """Weak: looks at how long the file is."""
        if len(content) > 2_000_000:
            raise InputError("bomb", "it is long")

    check(lambda content: made_anew(content, "image/png"))
    caught(lambda: check(by_bytes))
    with pytest.raises(InputError, match="bomb"):
        made_anew(picture("PNG", (400, 400)), "image/png", ImageBounds(pixels=400 * 399))


# Uploads


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def uploads(folder: Path, **more: object) -> Uploads:
    kinds = ("image/png", "image/jpeg", "application/pdf", "application/zip", "application/gzip", "text/csv")
    return Uploads(folder, **{"kinds": kinds, "most_bytes": 200_000, "archives": BOUNDS, **more})  # type: ignore[arg-type]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made) / "uploads"


PDF = b"%PDF-1.7\n1 0 obj << >> endobj\ntrailer << >>\n%%EOF\n"


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"MZ\x90\x00" + bytes(200), "kind"),
        (b"<html><script>alert(1)</script>", "kind"),
        (b"<svg xmlns='x'/>", "kind"),
        (b"#!/bin/sh\nrm -rf /\n", "kind"),
        (b"\x7fELF" + bytes(100), "kind"),
        (b"a\0b", "kind"),
        (b"", "broken"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "broken"),
        (b"%PDF-1.7 without an end", "kind"),
        (picture("WEBP"), "kind"),
        (b"x" * 200_001, "large"),
        (gzip.compress(bytes(5_000_000)), "bomb"),
        (picture("PNG")[:2000], "broken"),
        (b"\xff\xd8\xff" + b"MZ" * 100, "broken"),
        ("<?xml version='1.0'?><!DOCTYPE a>".encode("utf-8-sig"), "kind"),
    ],
)
async def test_attack_a_file_that_is_not_what_it_is_called(folder: Path, content: bytes, fault: str) -> None:
    with pytest.raises(InputError) as told:
        await uploads(folder).take(pieces(content), name="photo.png")
    assert told.value.fault == fault
    assert list(folder.iterdir()) == [], "nothing is left"


@pytest.mark.real_time
async def test_attack_an_upload_that_is_broken_off_while_its_picture_is_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread can be cancelled: what it writes when the file has been deleted must not come back."""
    decoding, go_on, done = threading.Event(), threading.Event(), threading.Event()
    real = Uploads._looked_at

    def slowly(content: bytes, kind: str, bounds: ImageBounds) -> Any:
        decoding.set()
        go_on.wait(5)
        return made_anew(content, kind, bounds)

    def strong(self: Uploads, path: Path) -> Any:
        try:
            return real(self, path)
        finally:
            done.set()

    def weak(self: Uploads, path: Path) -> Any:
        """Weak: writes to the name, whatever has become of it."""
        content = slowly(path.read_bytes(), "image/png", ImageBounds()).content
        path.write_bytes(content)
        done.set()

    monkeypatch.setattr(uploads_module, "made_anew", slowly)
    for look, left in ((strong, 0), (weak, 1)):
        for event in (decoding, go_on, done):
            event.clear()
        monkeypatch.setattr(Uploads, "_looked_at", look)
        taking = asyncio.create_task(uploads(folder).take(pieces(picture("PNG"))))
        await asyncio.to_thread(decoding.wait, 5)
        taking.cancel()
        with suppress(asyncio.CancelledError):
            await taking
        go_on.set()
        await asyncio.to_thread(done.wait, 5)
        assert len(list(folder.iterdir())) == left, look.__name__


def test_attack_a_file_that_is_not_what_it_is_called_against_the_guide() -> None:
    """The guide looks at the ending and at the first kilobyte."""
    from archstone.security.input import kind_of

    def by_ending(path: Path) -> str:
        return {".png": "image/png", ".pdf": "application/pdf"}[path.suffix]

    def check(kind: Callable[[Path], str | None], path: Path) -> None:
        assert kind(path) not in {"image/png", "application/pdf"}

    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "evil.png"
        path.write_bytes(b"MZ\x90\x00" + bytes(2_000))
        check(kind_of, path)
        caught(lambda: check(by_ending, path))


@pytest.mark.real_time
async def test_attack_a_file_without_an_end(folder: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield bytes(65_536)

    async def check(take: Callable[[AsyncIterator[bytes]], Awaitable[object]]) -> None:
        nonlocal sent
        sent = 0
        with pytest.raises(InputError, match="large"):
            await take(endless())
        assert sent <= 200_000 + 2 * 65_536, "it was stopped, not swallowed"

    async def as_the_guide(pieces: AsyncIterator[bytes]) -> None:
        """Weak: reads it whole, and then looks how long it is."""
        whole = b""
        async for piece in pieces:
            whole += piece
            if len(whole) > 5_000_000:  # the guide goes on
                break
        raise InputError("large", "too late")

    await check(uploads(folder).take)
    assert list(folder.iterdir()) == []
    await caught_later(lambda: check(as_the_guide))


@pytest.mark.real_time
async def test_attack_malware_and_a_scanner_that_looks_away(folder: Path) -> None:
    async with clamd() as daemon:
        scanner = ClamAv(f"tcp://127.0.0.1:{daemon.port}", timeout_s=5)
        clean = await uploads(folder, scanner=scanner).take(pieces(PDF))
        assert daemon.scanned == [PDF]
        clean.path.unlink()
        with pytest.raises(InputError, match=r"infected.*Eicar-Signature"):
            await uploads(folder, scanner=scanner).take(pieces(PDF + EICAR + b"\n%%EOF"))
        assert list(folder.iterdir()) == []
        daemon.limit_bytes = 10
        with pytest.raises(ScannerError, match="size limit"):
            await uploads(folder, scanner=scanner).take(pieces(PDF))

    class LooksAway:
        """Weak: what cannot be scanned is let in."""

        async def scan(self, pieces: AsyncIterable[bytes]) -> None:
            with suppress(ScannerError):
                await scanner.scan(pieces)

    async def check(which: object) -> None:
        with pytest.raises(ScannerError):
            await uploads(folder, scanner=which).take(pieces(PDF))

    await check(scanner)
    assert list(folder.iterdir()) == []
    await caught_later(lambda: check(LooksAway()))


@pytest.mark.real_time
@pytest.mark.parametrize("answer", [b"", b"stream: OK but not really\0", b"ERROR\0", b"x" * 10_000, b"OK\0"])
async def test_attack_a_verdict_that_is_none(answer: bytes) -> None:
    async def check(scan: Callable[[str], object]) -> None:
        async with clamd(answer=answer) as daemon:
            with pytest.raises(ScannerError):
                await scan(f"tcp://127.0.0.1:{daemon.port}")  # type: ignore[misc]

    async def unless_found(url: str) -> None:
        """Weak: whatever is not FOUND is clean."""
        try:
            await ClamAv(url, timeout_s=5).scan(pieces(b"x"))
        except ScannerError:
            return

    await check(lambda url: ClamAv(url, timeout_s=5).scan(pieces(b"x")))
    await caught_later(lambda: check(unless_found))


@pytest.mark.real_time
async def test_attack_a_scanner_that_keeps_everybody_waiting() -> None:
    async with clamd(silent=True) as daemon:

        async def check(timeout_s: float) -> None:
            with pytest.raises(ScannerError, match="no verdict in"):
                async with asyncio.timeout(1.0):
                    await ClamAv(f"tcp://127.0.0.1:{daemon.port}", timeout_s=timeout_s).scan(pieces(b"x" * 200_000))

        await check(0.2)
        with pytest.raises(TimeoutError):  # weak: as good as no limit
            await check(1e6)
    with pytest.raises(ConfigError):
        ClamAv("http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="decoded by nothing"):
        Uploads(Path("x"), kinds=("image/svg+xml",))
