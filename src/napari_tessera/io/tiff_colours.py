"""What the numbers in a TIFF file mean: brightness from below or above, a palette, printing inks, opacity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from napari_tessera.errors import FileError
from napari_tessera.io.picture import Reading

MEANING, INKS, YCBCR_COEFFICIENTS, REFERENCE_LEVELS = 262, 332, 529, 532
OPACITY = (1, 2)
SAMPLES = "S"
DECODED_TO_RGB = (6, 7, 33007, 34892, 34934, 50001, 50002, 52546)
"""Compressions whose decoders give RGB for YCbCr: the kinds of JPEG, and WebP."""
YCBCR_JPEG_2000 = 33003
UNSAID_YCBCR = ((), (0.299, 0.587, 0.114)), ((), (0.0, 255.0, 128.0, 255.0, 128.0, 255.0))
PLAIN = {tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MASK, 34892}
NAMES = {8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a camera's colour mosaic", 32844: "LogL"}
INVERTED = "It stores bright as small numbers (min-is-white). It was inverted, so that bright is bright."


def as_meant(reading: Reading, page: tifffile.TiffPage, *, as_labels: bool, has_display_colours: bool) -> Reading:
    """Return grey values of which the larger are brighter, or RGB.

    Parameters
    ----------
    reading : Reading
        Pixels as stored, with samples as the axis S.
    page : TiffPage
        Any page of the image.
    as_labels : bool
        Labels are the numbers stored; in a mask of one bit, white is True.
    has_display_colours : bool
        A palette only says in which colours intensities are shown, as those of ImageJ and of microscopes.

    Raises
    ------
    FileError
        If the colours are of a kind that is not read.
    """
    reading = _without_opacity(reading, page)
    kind = page.photometric if MEANING in page.tags else tifffile.PHOTOMETRIC.MINISBLACK
    if page.compression == YCBCR_JPEG_2000:
        kind = tifffile.PHOTOMETRIC.YCBCR
    is_number = kind == tifffile.PHOTOMETRIC.PALETTE and (as_labels or has_display_colours)
    if kind in PLAIN or is_number:
        return reading
    if kind == tifffile.PHOTOMETRIC.MINISWHITE:
        return reading if as_labels and reading.data.dtype != bool else _inverted(reading, page)
    if kind == tifffile.PHOTOMETRIC.PALETTE:
        return _through_palette(reading, page)
    if kind == tifffile.PHOTOMETRIC.SEPARATED:
        return _from_inks(reading, page)
    if kind == tifffile.PHOTOMETRIC.YCBCR:
        return reading if page.compression in DECODED_TO_RGB else _from_ycbcr(reading, page)
    raise FileError(_unread(NAMES.get(int(kind), f"kind {int(kind)}")))


def _unread(colours: str) -> str:
    return f"Its colours are stored as {colours}, which is not read. Save it in grey or RGB."


def _without_opacity(reading: Reading, page: tifffile.TiffPage) -> Reading:
    axes, extra = reading.axes or "", page.extrasamples
    if SAMPLES not in axes or reading.data.shape[axis := axes.index(SAMPLES)] != page.samplesperpixel:
        return reading
    first = page.samplesperpixel - len(extra)
    kept = [index for index in range(page.samplesperpixel) if index < first or extra[index - first] not in OPACITY]
    if len(kept) in (0, page.samplesperpixel):
        return reading
    if len(kept) == 1:
        data = reading.data[(slice(None),) * axis + (kept[0],)]
        return Reading(data, axes.replace(SAMPLES, ""), reading.places, reading.notes)
    return Reading(_taken(reading.data, kept, axis), axes, reading.places, reading.notes)


def _taken(data: Any, kept: list[int], axis: int) -> Any:
    return data[(slice(None),) * axis + (slice(0, len(kept)) if kept == list(range(len(kept))) else kept,)]


def _inverted(reading: Reading, page: tifffile.TiffPage) -> Reading:
    if reading.data.dtype.kind == "b":
        data = ~reading.data
    elif reading.data.dtype.kind == "u" and isinstance(page.bitspersample, int):
        data = reading.data.dtype.type(2**page.bitspersample - 1) - reading.data
    else:
        raise FileError(
            f"It stores bright as small numbers (min-is-white), but as {reading.data.dtype}, which has no brightest one"
            ". Invert it and save it again (in ImageJ: Image > Lookup Tables > Invert LUT)."
        )
    return Reading(data, reading.axes, reading.places, (*reading.notes, INVERTED))


def _through_palette(reading: Reading, page: tifffile.TiffPage) -> Reading:
    """Look colours up, 8 bits each; a palette of greys gives one channel."""
    colours = page.colormap
    if colours is None or reading.data.dtype.kind not in "bu" or colours.shape[1] < 2 ** int(page.bitspersample):
        raise FileError("It has a palette, but not a colour for each of its numbers. Save it in grey or RGB.")
    numbers = reading.data.astype(np.uint8) if reading.data.dtype == bool else reading.data
    table = (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8).T  # (numbers, 3)
    if (table == table[:, :1]).all():
        return Reading(_mapped(numbers, lambda block: table[:, 0][block]), reading.axes, reading.places)
    data = _mapped(numbers, lambda block: table[block], new_axis=numbers.ndim)
    return Reading(data, f"{reading.axes}{SAMPLES}", reading.places)


def _mapped(data: Any, function: Callable[[np.ndarray], np.ndarray], new_axis: int | None = None) -> Any:
    """Apply a function that gives 8 bits, also to what is read when it is asked for."""
    if isinstance(data, np.ndarray):
        return function(data)
    chunks = data.chunks if new_axis is None else (*data.chunks, (3,))
    return data.map_blocks(function, dtype=np.uint8, new_axis=new_axis, chunks=chunks)


def _from_inks(reading: Reading, page: tifffile.TiffPage) -> Reading:
    """Turn cyan, magenta, yellow and black into red, green and blue, without a colour profile."""
    inks = _last_samples(reading)
    if page.tags.valueof(INKS, 1) != 1 or inks.shape[-1] != 4 or inks.dtype not in (np.uint8, np.uint16):
        raise FileError(_unread("printing inks other than CMYK of 8 or 16 bits"))
    most = np.iinfo(inks.dtype).max
    light = (most - inks).astype(np.uint32)
    data = ((light[..., :3] * light[..., 3:] + most // 2) // most).astype(inks.dtype)
    return Reading(data, _samples_last(reading), reading.places, (*reading.notes, "It was turned from CMYK into RGB."))


def _from_ycbcr(reading: Reading, page: tifffile.TiffPage) -> Reading:
    data = _last_samples(reading)
    said = [_numbers(page.tags.get(tag)) for tag in (YCBCR_COEFFICIENTS, REFERENCE_LEVELS)]
    is_usual = all(value in usual for value, usual in zip(said, UNSAID_YCBCR, strict=True))
    if data.dtype != np.uint8 or data.shape[-1] != 3 or not is_usual:
        raise FileError(_unread("YCbCr of an unusual kind"))
    if not isinstance(data, np.ndarray):
        data = data.rechunk({data.ndim - 1: -1})
    return Reading(_mapped(data, _rgb_of_ycbcr), _samples_last(reading), reading.places, reading.notes)


def _rgb_of_ycbcr(block: np.ndarray) -> np.ndarray:
    size = (block.size // 3, 1)
    return np.asarray(Image.frombytes("YCbCr", size, block.tobytes()).convert("RGB")).reshape(block.shape)


def _numbers(tag: tifffile.TiffTag | None) -> tuple[float, ...]:
    """Return the numbers of a tag; fractions are stored as two numbers each."""
    if tag is None:
        return ()
    if tag.dtype == tifffile.DATATYPE.RATIONAL:
        return tuple(round(above / below, 4) for above, below in zip(tag.value[::2], tag.value[1::2], strict=True))
    return tuple(float(value) for value in tag.value)


def _last_samples(reading: Reading) -> Any:
    axes = reading.axes or ""
    if SAMPLES not in axes:
        raise FileError("It says that its pixels are coloured, but they hold one number each. Save it in grey or RGB.")
    axis = axes.index(SAMPLES)
    return reading.data.transpose([*(each for each in range(reading.data.ndim) if each != axis), axis])


def _samples_last(reading: Reading) -> str:
    return (reading.axes or "").replace(SAMPLES, "") + SAMPLES
