"""Making pictures small: what they are, their bytes say; what they tell beside their pixels is gone."""

import io

import pytest
from image_host import bomb, picture
from PIL import Image

from archstone.systems.shop.images.failures import ImageError
from archstone.systems.shop.images.shrinking import checked, shrunk

MOST = 40_000_000


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "WEBP"
    image.load()
    return image


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_each_format_that_is_passed_on_becomes_a_small_webp(format: str) -> None:
    original = checked(picture(format, (1000, 500)))
    small = opened(shrunk(original, 320, most_pixels=MOST))
    assert small.size == (320, 160)
    red, green, blue = small.convert("RGB").getpixel((5, 5))  # type: ignore[misc]
    assert max(abs(red - 0x3F), abs(green - 0x8F), abs(blue - 0x78)) < 12


@pytest.mark.parametrize(
    "content",
    [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!doctype html>", b"BM" + b"\0" * 60, b"II*\0" + b"\0" * 60,
     b"%PDF-1.7", b"\x1f\x8b\x08" + b"\0" * 20, b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypmp42", picture("BMP"),
     picture("TIFF")],
)  # fmt: skip
def test_all_else_is_refused_by_its_content(content: bytes) -> None:
    with pytest.raises(ImageError) as told:
        checked(content)
    assert told.value.outcome == "kind"
    with pytest.raises(ImageError):
        shrunk(content, 320, most_pixels=MOST)


def test_a_small_picture_is_not_made_larger_and_a_tall_one_fits_the_square() -> None:
    assert opened(shrunk(picture(size=(90, 60)), 320, most_pixels=MOST)).size == (90, 60)
    assert opened(shrunk(picture(size=(100, 4000)), 320, most_pixels=MOST)).size == (8, 320)


def test_a_picture_stands_upright_and_says_nothing_of_where_it_was_taken() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right
    exif[0x010F] = "CAMERA-OF-ANN"
    exif.get_ifd(0x8825)[2] = (50.0, 51.0, 52.0)
    left_red = Image.new("RGB", (400, 200), "#ffffff")
    left_red.paste("#ff0000", (0, 0, 200, 200))
    original = saved(left_red, "JPEG", exif=exif, comment=b"SECRET-COMMENT")
    assert b"CAMERA-OF-ANN" in original
    content = shrunk(original, 320, most_pixels=MOST)
    small = opened(content)
    assert small.size == (160, 320)
    assert small.convert("RGB").getpixel((80, 20))[0] > 240  # type: ignore[index] - what was left is above
    assert small.convert("RGB").getpixel((80, 20))[1] < 20  # type: ignore[index]
    assert not small.getexif()
    assert b"CAMERA" not in content
    assert b"SECRET" not in content


def test_of_a_moving_picture_the_first_is_shown() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    for kind in ("GIF", "WEBP", "AVIF", "PNG"):
        original = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        small = opened(shrunk(original, 320, most_pixels=MOST))
        assert getattr(small, "n_frames", 1) == 1
        assert small.convert("RGB").getpixel((30, 30))[0] > 200  # type: ignore[index]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_any_kind_of_pixels_is_shown(mode: str) -> None:
    image = Image.new("RGB", (64, 64), "#808080").convert("L")
    image = (
        image.convert("I").point(lambda value: value * 256).convert("I;16") if mode == "I;16" else image.convert(mode)
    )
    small = opened(shrunk(saved(image, "PNG"), 32, most_pixels=MOST))
    assert small.size == (32, 32)
    grey = [small.convert("L").getpixel((x, y)) for x in range(8, 16) for y in range(8, 16)]
    assert abs(sum(grey) / len(grey) - 128) < 24  # type: ignore[arg-type]


def test_what_can_be_seen_through_stays_so() -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (16, 16, 48, 48))
    small = opened(shrunk(saved(image, "PNG"), 32, most_pixels=MOST))
    assert small.mode == "RGBA"
    assert small.getpixel((0, 0))[3] == 0  # type: ignore[index]
    palette = saved(image.convert("P"), "GIF", transparency=image.convert("P").getpixel((0, 0)))
    assert opened(shrunk(palette, 32, most_pixels=MOST)).mode == "RGBA"


@pytest.mark.parametrize(("width", "height"), [(8_000, 8_000), (13_400, 13_400)])
def test_a_bomb_is_refused_before_it_is_unpacked(width: int, height: int) -> None:
    content = checked(bomb(width, height))
    assert len(content) < 500_000  # of which the second is more than Pillow itself would open
    with pytest.raises(ImageError) as told:
        shrunk(content, 320, most_pixels=MOST)
    assert told.value.outcome == "large"


def test_both_sides_of_the_bound_of_pixels() -> None:
    content = picture("PNG", (100, 50))
    assert shrunk(content, 320, most_pixels=5_000)
    with pytest.raises(ImageError, match="100 by 50 pixels, at most 4999 in all"):
        shrunk(content, 320, most_pixels=4_999)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_what_breaks_off_is_never_shown(format: str) -> None:
    whole = picture(format)
    for part in (0.3, 0.6, 0.9):
        with pytest.raises(ImageError) as told:
            shrunk(whole[: int(len(whole) * part)], 320, most_pixels=MOST)
        assert told.value.outcome in {"broken", "kind"}
