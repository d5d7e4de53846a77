"""HTML, addresses, archives, pictures and files that are taken, and what becomes of them."""

import gzip
import io
import os
import re
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import pytest
from image_host import picture
from PIL import Image
from pydantic import BaseModel, ValidationError

from archstone.security.input import (
    ArchiveBounds,
    EmailAddress,
    HtmlPolicy,
    ImageBounds,
    InputError,
    Uploads,
    check_zip,
    gunzipped,
    made_anew,
    normal_email,
    text_only,
)

POST = HtmlPolicy()


def test_html_that_is_taken_stays_and_links_vouch_for_nothing() -> None:
    found = POST.clean(
        '<p>Gr\u00fc\u00dfe <strong>an</strong> <a href="https://a.test/?x=1&y=2" target="_blank">alle</a></p>'
    )
    assert "<p>Gr\u00fc\u00dfe <strong>an</strong>" in found
    assert 'href="https://a.test/?x=1&amp;y=2"' in found
    assert "nofollow" in found
    assert "target" not in found
    assert text_only("a < b & c") == "a &lt; b &amp; c"


GUIDE = r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$"


def test_addresses_of_all_languages_are_written_in_one_way() -> None:
    assert normal_email("Ann@EXAMPLE.org") == "Ann@example.org"
    assert normal_email("j\u00f6rg@b\u00fccher.example.com".replace("example.com", "de")) == "j\u00f6rg@b\u00fccher.de"
    assert normal_email("o'brien+tag@sub.example.org")
    with pytest.raises(InputError):
        normal_email("j\u00f6rg@example.org", international=False)

    class Form(BaseModel):
        address: EmailAddress

    assert Form(address="Ann@EXAMPLE.org").address == "Ann@example.org"
    with pytest.raises(ValidationError):
        Form(address="nobody")
    # What the guide's pattern refuses and takes.
    guide = re.compile(GUIDE)
    assert not guide.match("j\u00f6rg@b\u00fccher.de")
    assert guide.match("ann@example..org")


def zipped(path: Path, *entries: tuple[str, bytes], **more: object) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


BOUNDS = ArchiveBounds(unpacked_bytes=20_000_000, entries=50)


def refuses(check: Callable[[Path, ArchiveBounds], None], file: Path, fault: str) -> None:
    with pytest.raises(InputError) as told:
        check(file, BOUNDS)
    assert told.value.fault == fault


def test_archives_that_are_none_are_broken_and_good_ones_pass(tmp_path: Path) -> None:
    good = zipped(tmp_path / "good.zip", ("a/", b""), ("a/b.txt", b"hello"), ("c.bin", os.urandom(10_000)))
    check_zip(good, BOUNDS)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(good.read_bytes()[:-30])
    refuses(check_zip, cut, "broken")
    turned = bytearray(good.read_bytes())
    turned[60] ^= 0xFF
    cut.write_bytes(bytes(turned))
    with pytest.raises(InputError):
        check_zip(cut, BOUNDS)


def unpacked(pieces: Iterable[bytes], bounds: ArchiveBounds = BOUNDS) -> int:
    return sum(len(piece) for piece in gunzipped(pieces, bounds))


def test_gzip_is_unpacked_in_pieces_whatever_the_pieces_are() -> None:
    text = b"".join(b"line %d\n" % number for number in range(50_000))
    packed = gzip.compress(text) + gzip.compress(b"end") + b"\0" * 10
    for size in (1_000, 65_536, len(packed)):
        found = b"".join(gunzipped((packed[at : at + size] for at in range(0, len(packed), size)), BOUNDS))
        assert found == text + b"end"
    for broken in (packed[:500], b"no gzip", b"", gzip.compress(text)[:-1]):
        with pytest.raises(InputError, match="broken"):
            unpacked([broken])


def test_pictures_are_made_anew_in_their_own_kind_and_broken_ones_are_told() -> None:
    for name, kind in (
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("AVIF", "image/avif"),
    ):
        found = made_anew(picture(name, (60, 30)), kind, ImageBounds(side=20))
        assert (found.kind, found.width, found.height) == (kind, 20, 10)
        with pytest.raises(InputError, match="broken"):
            made_anew(picture(name, (60, 30))[:60], kind)
    with pytest.raises(InputError, match="broken"):
        made_anew(picture("JPEG"), "image/png")
    with pytest.raises(InputError, match="kind"):
        made_anew(b"<svg/>", "image/svg+xml")


def test_sixteen_bits_of_grey_stay_grey() -> None:
    out, shades = io.BytesIO(), [0, 16_384, 32_768, 65_535]
    deep = Image.new("I;16", (4, 1))
    deep.putdata(shades)
    deep.save(out, "PNG")
    with Image.open(io.BytesIO(made_anew(out.getvalue(), "image/png").content)) as image:
        assert [image.getpixel((x, 0)) for x in range(4)] == [(0,) * 3, (64,) * 3, (128,) * 3, (255,) * 3]


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
async def test_a_file_is_taken_by_its_content(folder: Path) -> None:
    for content, kind in (
        (picture("PNG", (50, 50)), "image/png"),
        (PDF, "application/pdf"),
        (b"a;b\r\n1;\xc3\xa4\r\n", "text/csv"),
        (gzip.compress(b"x"), "application/gzip"),
        (zipped(folder.parent / "z.zip", ("a", b"b")).read_bytes(), "application/zip"),
    ):
        taken = await uploads(folder).take(pieces(content[:7], content[7:]), name="../../my file.exe")
        assert (taken.kind, taken.name) == (kind, "my file.exe")
        assert taken.path.parent == folder
        assert re.fullmatch(r"[0-9a-f]{32}", taken.path.name)
        assert taken.path.stat().st_mode & 0o777 == 0o600
        assert taken.size_bytes == taken.path.stat().st_size
