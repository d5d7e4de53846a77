"""Pictures of strangers, made anew: only pixels survive, nothing that hides beside them. By Pillow.

Promise: the size is looked at before a pixel is read, so that a small file cannot become gigabytes; what a picture
tells beside its pixels (where it was taken, by which camera), what stands behind its end (another file), and what only
one decoder understands are gone. Of a moving picture the first is kept. It blocks: call it in a thread.
SVG is none of it: it is a program.
"""

import io
from dataclasses import dataclass
from typing import Any, Final

from archstone.resilience import check
from archstone.security.input.errors import InputError

__all__ = ["ImageBounds", "Picture", "made_anew"]

FORMATS: Final = {
    "image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/gif": "GIF", "image/avif": "AVIF",
}  # fmt: skip
_QUALITY: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBounds:
    """How large a picture may be."""

    pixels: int = 40_000_000
    """Width times height. Above 0."""
    side: int | None = None
    """Larger ones are made to fit a square of so many pixels. None: they stay as they are. Above 0."""

    def __post_init__(self) -> None:
        check(self, pixels=(self.pixels > 0, "above 0"), side=(self.side is None or self.side > 0, "above 0, or None"))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of which every byte is our own."""

    content: bytes
    kind: str
    """Its media type, that of the original."""
    width: int
    height: int


_BOUNDS: Final = ImageBounds()


def made_anew(content: bytes, kind: str, bounds: ImageBounds = _BOUNDS) -> Picture:
    """Return a picture decoded and encoded again, upright.

    Args:
        content: A whole file.
        kind: The media type that it must be: JPEG, PNG, WebP, GIF or AVIF.
        bounds: How large it may be.

    Raises:
        InputError: It is not of that kind, has too many pixels, or cannot be read.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415 - of the extra `systems`, and only who takes pictures needs it

    name = FORMATS.get(kind)
    if name is None:
        raise InputError("kind", f"{kind} is no kind of picture that is taken")
    try:
        with Image.open(io.BytesIO(content), formats=(name,)) as image:
            _check_size(image, bounds.pixels)
            image.seek(0)
            upright: Any = ImageOps.exif_transpose(image)
            if bounds.side is not None:
                upright.thumbnail((bounds.side, bounds.side))
            return _encoded(upright, name, kind)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError("bomb", "more pixels than any picture has") from error
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like at bytes that a stranger chose
        raise InputError("broken", f"it cannot be read as {kind} ({type(error).__name__})") from error


def _check_size(image: Any, most: int) -> None:
    if image.width * image.height > most:
        raise InputError("bomb", f"{image.width} by {image.height} pixels, at most {most} in all")


def _encoded(image: Any, name: str, kind: str) -> Picture:
    plain = _plain(image, clear=image.has_transparency_data and name != "JPEG")
    plain.info = {}  # what is said in comments, which an encoder would write down again
    out = io.BytesIO()
    more: dict[str, Any] = {"quality": _QUALITY} if name in {"JPEG", "WEBP", "AVIF"} else {}
    bare: dict[str, Any] = {} if name == "GIF" else {"exif": b"", "icc_profile": b""}
    plain.save(out, name, **bare, **more)
    return Picture(out.getvalue(), kind, plain.width, plain.height)


def _plain(image: Any, *, clear: bool) -> Any:
    if image.mode.startswith("I"):  # sixteen bits of grey; `convert` alone would cut all that is above eight
        image = image.convert("I").point(_highest).convert("L")
    return image.convert("RGBA" if clear else "RGB")


def _highest(value: Any) -> Any:
    """Return the upper eight bits of sixteen, as a formula: Pillow hands in none but what stands for a pixel."""
    return value * (1 / 256)
