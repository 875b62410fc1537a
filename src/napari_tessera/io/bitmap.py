"""PNG, JPEG and other pictures that Pillow reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from napari_tessera.errors import FileError
from napari_tessera.io.picture import Reading

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".jp2", ".ppm", ".pgm")


def read_bitmap(path: Path, *, as_labels: bool = False) -> Reading:
    """Read the first frame: (Y, X) grey or (Y, X, 3) colour, 8 or 16 bits a channel.

    Opacity is left out, and a rotation noted in a camera's EXIF data is ignored: pixels are taken as stored. A palette
    is turned into colours, except for labels, which are the numbers in the palette.
    """
    with Image.open(path) as picture:
        frame = next(iter(ImageSequence.Iterator(picture)))
        if frame.mode in ("RGB", "RGBA", "LA") and _has_16_bits(frame):
            return _reading(_decode_16_bits(path))
        if as_labels and frame.mode == "P":
            return _reading(np.asarray(frame))
        return _reading(np.asarray(_plain(frame)))


def _plain(frame: Image.Image) -> Image.Image:
    if frame.mode in ("LA", "La"):
        return frame.convert("L")
    if frame.mode == "P":
        rgb = frame.convert("RGB")
        return frame.convert("L") if _is_grey(rgb) else rgb
    return frame.convert("RGB") if frame.mode in ("RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV") else frame


def _is_grey(rgb: Image.Image) -> bool:
    channels = np.asarray(rgb)
    return bool((channels[..., :1] == channels).all())


def _has_16_bits(frame: Image.Image) -> bool:
    return any(";16" in str(tile[-1]) for tile in getattr(frame, "tile", ()))


def _decode_16_bits(path: Path) -> np.ndarray:
    """Pillow keeps only 8 of the 16 bits of a colour picture."""
    try:
        import imagecodecs
    except ImportError:
        raise FileError(
            "It has 16 bits a colour, which needs the package imagecodecs (pip install imagecodecs). "
            "Or save it as TIFF."
        ) from None
    return np.asarray(imagecodecs.imread(path))


def _reading(data: np.ndarray) -> Reading:
    if data.ndim == 2:
        return Reading(data, "YX")
    colours = data.shape[-1] - 1 if data.shape[-1] in (2, 4) else data.shape[-1]
    return Reading(data[..., :colours], "YXC")


def write_png(path: Path, labels: np.ndarray) -> None:
    """Write labels as a 16-bit grey PNG.

    Raises
    ------
    FileError
        If they are not 2-D or go past 65,535.
    """
    if labels.ndim != 2:
        raise FileError(f"The labels have shape {labels.shape}, but PNG holds one plane. Write .tif instead.")
    largest = int(labels.max(initial=0))
    if largest > np.iinfo(np.uint16).max:
        raise FileError(f"The labels go up to {largest}, but PNG holds numbers up to 65535. Write .tif instead.")
    Image.fromarray(labels.astype(np.uint16)).save(path, format="PNG")
