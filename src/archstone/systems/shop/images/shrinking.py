"""Make a small WebP of a picture that a stranger sent. It runs in a thread; nothing here knows where it came from.

What it is, its bytes say: JPEG, PNG, WebP, GIF or AVIF; SVG and all else is refused. Its size is looked at before a
pixel is read, so that a small file cannot become gigabytes. What the picture tells beside its pixels (where and when
it was taken, by which camera) is left out, and colours are taken as sRGB.
"""

import io
from typing import Final

from PIL import Image, ImageOps

from archstone.systems.shop.images.failures import ImageError

__all__ = ["checked", "shrunk"]

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
_BEGINNINGS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
_QUALITY: Final = 80
_EFFORT: Final = 4
"""Of libwebp, 0 to 6: more takes longer and saves little."""


def checked(content: bytes) -> bytes:
    """Return the content, which begins as a picture that is passed on does. The rest may still be broken.

    Raises:
        ImageError: it does not.
    """
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    avif = content[4:8] == b"ftyp" and content[8:12] in {b"avif", b"avis", b"mif1", b"msf1", b"miaf"}
    if webp or avif or content.startswith(_BEGINNINGS):
        return content
    raise ImageError("kind", "its content is no picture that is passed on")


def shrunk(content: bytes, side: int, *, most_pixels: int) -> bytes:
    """Return the picture as WebP, upright, made to fit a square; never larger than it was. Of a moving one the first.

    Args:
        content: A whole file.
        side: Of the square, pixels.
        most_pixels: Of the original, width times height.

    Raises:
        ImageError: it is none of the formats, has too many pixels, or cannot be read.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(image, most_pixels)
            return _webp(ImageOps.exif_transpose(_small(image, side)))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError("large", "more pixels than any picture has") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError("kind", "its content is no picture that is passed on") from error
    except ImageError:
        raise
    except Exception as error:  # decoders raise whatever they like at bytes that a stranger chose
        raise ImageError("broken", f"its content cannot be read ({type(error).__name__})") from error


def _small(image: Image.Image, side: int) -> Image.Image:
    # A palette, one bit, sixteen bits, or a colour that stands for nothing: between such pixels there is no mean.
    smooth = image.mode in {"RGB", "RGBA", "L", "CMYK", "YCbCr"} and "transparency" not in image.info
    found = image if smooth else _plain(image)
    found.thumbnail((side, side))
    return found


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # sixteen bits of grey; `convert` alone would cut all that is above eight
        wide = image.convert("I")
        return wide.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")  # pyright: ignore[reportUnknownMemberType]
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _webp(image: Image.Image) -> bytes:
    small = io.BytesIO()
    _plain(image).save(small, "WEBP", quality=_QUALITY, method=_EFFORT, exif=b"", icc_profile=b"", xmp=b"")
    return small.getvalue()


def _check_size(image: Image.Image, most_pixels: int) -> None:
    if image.width * image.height > most_pixels:
        raise ImageError("large", f"{image.width} by {image.height} pixels, at most {most_pixels} in all")
