"""Checks a photograph and makes its smaller sizes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

from .folders import ProducedFile, produced, whole

ACCEPTED = ("JPEG", "PNG", "WEBP")
MAXIMUM_PIXELS = 40_000_000


class NotAPhotograph(ValueError):
    """The upload cannot be taken for a photograph; the message is meant for the visitor."""


class Size(NamedTuple):
    """One of the sizes to make: its longest side in pixels, and whether it is cut to a square."""

    side: int
    square: bool
    format: str


SIZES = (
    Size(320, True, "WEBP"),
    *(Size(side, False, format) for side in (640, 1280, 2048) for format in ("WEBP", "JPEG")),
)

SAVING: dict[str, dict[str, Any]] = {
    "WEBP": {"quality": 82, "method": 4},
    "JPEG": {"quality": 85, "optimize": True, "progressive": True},
}


def check(path: Path) -> None:
    """Raise NotAPhotograph for what is not a sound photograph of a decent size.

    Only the header is read before the number of pixels is known, so that a small file which unfolds into gigabytes is
    refused cheaply.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            verify(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_large() from None
    except (UnidentifiedImageError, OSError, SyntaxError):
        raise NotAPhotograph(f"Please send a photograph as {', '.join(ACCEPTED)}.") from None


def verify(path: Path) -> None:
    """Open the file and look it over; the errors are Pillow's."""
    with Image.open(path, formats=ACCEPTED) as image:
        width, height = image.size
        if width * height > MAXIMUM_PIXELS:
            raise too_large()
        image.verify()


def too_large() -> NotAPhotograph:
    """Make the error for too many pixels."""
    return NotAPhotograph(f"Please send a photograph of at most {MAXIMUM_PIXELS // 1_000_000} megapixels.")


def resize(original: Path, folder: Path) -> Iterator[ProducedFile]:
    """Write every size into the folder and yield each file as soon as it is there; nothing is made larger than it was.

    The camera's notes (place, owner, serial number) are left out; the turn they ask for and the colour profile stay.
    """
    with Image.open(original, formats=ACCEPTED) as image:
        profile = image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image).convert("RGB")
    for size in SIZES:
        yield write(scaled(upright, size), folder, size, profile)


def scaled(image: Image.Image, size: Size) -> Image.Image:
    """Return a smaller copy."""
    if size.square:
        return ImageOps.fit(image, (size.side, size.side), Image.Resampling.LANCZOS)
    copy = image.copy()
    copy.thumbnail((size.side, size.side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return copy


def write(image: Image.Image, folder: Path, size: Size, profile: bytes | None) -> ProducedFile:
    """Save one size."""
    stem = "square" if size.square else f"{size.side}"
    target = folder / f"photo-{stem}.{size.format.lower().replace('jpeg', 'jpg')}"
    with whole(target) as part:
        image.save(part, format=size.format, icc_profile=profile, **SAVING[size.format])
    return produced(target, f"{image.width} × {image.height}")
