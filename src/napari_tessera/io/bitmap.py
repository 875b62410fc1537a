"""PNG, JPEG and other formats that Pillow reads."""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image

from napari_tessera.core.checks import note_on_opacity
from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import check_can_hold
from napari_tessera.io.image_file import Reading, choose_image, hides_pixels

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".jp2", ".ppm", ".pgm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
"""Formats that Pillow may use; some others would start a program."""
NETPBM_WHITE = (255, 65535)


def read_bitmap(path: Path, series: int | str | None = None, *, as_labels: bool = False) -> Reading:
    """Read one frame, by default the first: (Y, X) grey or (Y, X, 3) colour, 8 or 16 bits a channel.

    Opacity is kept if it hides pixels, and EXIF rotation is ignored. A palette is converted to colours, except for
    labels, which are the palette numbers; CMYK becomes RGB.
    """
    with _opened(path) as picture:
        check_can_hold(path.stat().st_size, picture.width * picture.height * len(picture.getbands()))
        shape = (picture.height, picture.width)
        images = dict.fromkeys(range(getattr(picture, "n_frames", 1)), ("", shape))
        choice = choose_image(images, series)
        picture.seek(choice.number)
        return choice.told_with(_frame(path, picture, as_labels))


def _frame(path: Path, frame: Image.Image, as_labels: bool) -> Reading:
    if frame.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile[-1]) for tile in getattr(frame, "tile", ())):
        import imagecodecs  # Pillow keeps only 8 of the 16 bits of a colour image

        colours = np.asarray(imagecodecs.png_decode(path.read_bytes()))
        return _reading(colours) if as_labels else _with_opacity(colours, colours)
    if frame.format == "JPEG2000" and frame.mode not in ("L", "P"):
        return _reading(_decode_jpeg_2000(path, frame))
    if frame.format == "PPM" and (numbers := _netpbm_numbers(path, frame)) is not None:
        return _reading(numbers)
    if as_labels and frame.mode in ("P", "PA"):
        return _reading(np.asarray(frame)[..., 0] if frame.mode == "PA" else np.asarray(frame))
    has_opacity = frame.mode in ("RGBA", "RGBa", "LA", "La") and not as_labels
    plain = np.asarray(_plain(frame))
    return _with_opacity(np.asarray(frame.convert("RGBA")), plain) if has_opacity else _reading(plain)


def _with_opacity(colours: np.ndarray, plain: np.ndarray) -> Reading:
    """Return the colours if their opacity hides pixels, otherwise what is to be read of `plain`."""
    if hides_pixels(colours):
        return Reading(colours, "YXC")
    return replace(_reading(plain), notes=note_on_opacity(colours))


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise FileError(
            f"It has more than the {most:.0f} million pixels that are read of a file of this format. Save it as TIFF."
        ) from None


def _plain(frame: Image.Image) -> Image.Image:
    if frame.mode in ("LA", "La"):
        return frame.convert("L")
    if frame.mode in ("P", "PA"):
        rgb = frame.convert("RGB")
        channels = np.asarray(rgb)
        return frame.convert("L") if (channels[..., :1] == channels).all() else rgb
    return frame.convert("RGB") if frame.mode in ("RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV") else frame


def _decode_jpeg_2000(path: Path, frame: Image.Image) -> np.ndarray:
    """Decode with imagecodecs: Pillow keeps 8 bits of a colour, and scales 9 to 15 bits of grey to 16."""
    import imagecodecs

    stored = np.asarray(imagecodecs.jpeg2k_decode(path.read_bytes()))
    return stored if stored.dtype.itemsize > 1 else np.asarray(_plain(frame))


def _netpbm_numbers(path: Path, frame: Image.Image) -> np.ndarray | None:
    """Return the numbers as stored, if Pillow would scale them to 255 or 65535; otherwise None."""
    decoder, _, start, arguments = getattr(frame, "tile", [(None, None, 0, None)])[0]
    white = arguments[-1] if isinstance(arguments, tuple) else None
    if frame.mode not in ("L", "I", "RGB") or not isinstance(white, int):
        return None
    if white in NETPBM_WHITE and frame.mode == "L":
        return None
    shape = (frame.height, frame.width, *((3,) if frame.mode == "RGB" else ()))
    content = path.read_bytes()[start:]
    dtype = np.dtype("u1" if white <= NETPBM_WHITE[0] else ">u2")
    count = prod(shape)
    if decoder == "ppm_plain":
        words = re.sub(rb"#[^\n]*", b"", content).split()[:count]
        return np.array([int(word) for word in words]).astype(dtype).reshape(shape)
    return np.frombuffer(content, dtype, count).reshape(shape).astype(dtype.newbyteorder("="))


def _reading(data: np.ndarray) -> Reading:
    if data.ndim == 2:
        return Reading(data, "YX")
    colours = data.shape[-1] - 1 if data.shape[-1] in (2, 4) else data.shape[-1]
    return Reading(data[..., :colours], "YXC")


def write_png(path: Path, labels: np.ndarray) -> None:
    """Write labels as a 16-bit grey PNG. Raises `FileError` if they are not 2-D or exceed 65,535."""
    if labels.ndim != 2:
        raise FileError(f"The labels have shape {labels.shape}, but PNG holds one plane. Write .tif instead.")
    largest = int(labels.max(initial=0))
    if largest > np.iinfo(np.uint16).max:
        raise FileError(f"The labels go up to {largest}, but PNG holds numbers up to 65535. Write .tif instead.")
    Image.fromarray(labels.astype(np.uint16)).save(path, format="PNG")
