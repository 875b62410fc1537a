"""Check the pages of a TIFF file and the meaning of their values (inverted, palette, inks, opacity).

tifffile follows a circular chain of pages forever, and fills missing data with zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL import Image

from napari_tessera.core.checks import note_on_opacity
from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import check_can_hold
from napari_tessera.io.image_file import Reading, hides_pixels

MEANING, INKS, YCBCR_COEFFICIENTS, REFERENCE_LEVELS = 262, 332, 529, 532
OPACITY = (1, 2)
SAMPLES = "S"
DECODED_TO_RGB = (6, 7, 33007, 34892, 34934, 50001, 50002, 52546)
"""Compressions whose decoders convert YCbCr to RGB: the kinds of JPEG, and WebP."""
YCBCR_JPEG_2000 = 33003
USUAL_YCBCR = ((), (0.299, 0.587, 0.114)), ((), (0.0, 255.0, 128.0, 255.0, 128.0, 255.0))
PLAIN = {tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MASK, 34892}
NAMES = {8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a camera's colour mosaic", 32844: "LogL"}
INVERTED = "Small numbers mean bright (min-is-white). The image was inverted, so that bright pixels have large numbers."


def as_meant(reading: Reading, page: tifffile.TiffPage, *, as_labels: bool, has_display_colours: bool) -> Reading:
    """Return grey values, the larger the brighter, or RGB, of pixels as stored, with samples as the axis S.

    Labels are the stored numbers; in a mask of one bit, white is True. With `has_display_colours`, a palette only
    defines display colours, as in ImageJ and microscopes. Raises `FileError` if the kind of colours is not supported.
    """
    reading = _without_opacity(reading, page, as_labels=as_labels)
    kind = page.photometric if MEANING in page.tags else tifffile.PHOTOMETRIC.MINISBLACK
    if page.compression == YCBCR_JPEG_2000:
        kind = tifffile.PHOTOMETRIC.YCBCR
    has_numbers = kind == tifffile.PHOTOMETRIC.PALETTE and (as_labels or has_display_colours)
    if kind in PLAIN or has_numbers:
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
    return f"Its colours are stored as {colours}, which is not supported. Save it in grey or RGB."


def _without_opacity(reading: Reading, page: tifffile.TiffPage, *, as_labels: bool) -> Reading:
    axes, extra = reading.axes or "", page.extrasamples
    if SAMPLES not in axes or reading.data.shape[axis := axes.index(SAMPLES)] != page.samplesperpixel:
        return reading
    first = page.samplesperpixel - len(extra)
    kept = [index for index in range(page.samplesperpixel) if index < first or extra[index - first] not in OPACITY]
    if len(kept) in (0, page.samplesperpixel):
        return reading
    is_opacity = len(kept) == 3 and not as_labels and isinstance(reading.data, np.ndarray)
    if is_opacity and hides_pixels(colours := np.moveaxis(reading.data, axis, -1)):
        return reading
    notes = (*reading.notes, *(note_on_opacity(colours) if is_opacity else ()))
    is_first = kept == list(range(len(kept)))  # a slice spares a copy
    taken = kept[0] if len(kept) == 1 else slice(0, len(kept)) if is_first else kept
    axes = axes.replace(SAMPLES, "") if len(kept) == 1 else axes
    return replace(reading, data=reading.data[(slice(None),) * axis + (taken,)], axes=axes, notes=notes)


def _inverted(reading: Reading, page: tifffile.TiffPage) -> Reading:
    if reading.data.dtype.kind in "bi":
        data = ~reading.data  # of signed numbers, -1 minus each
    elif reading.data.dtype.kind == "f" and isinstance(reading.data, np.ndarray):
        data = reading.data.max() + reading.data.min() - reading.data
    elif reading.data.dtype.kind == "u" and isinstance(page.bitspersample, int):
        data = reading.data.dtype.type(2**page.bitspersample - 1) - reading.data
    else:
        raise FileError(
            f"Small numbers mean bright (min-is-white), but {reading.data.dtype} has no largest number to invert it by"
            ". Invert it and save it again (in ImageJ: Image > Lookup Tables > Invert LUT)."
        )
    return replace(reading, data=data, notes=(*reading.notes, INVERTED))


def _through_palette(reading: Reading, page: tifffile.TiffPage) -> Reading:
    """Convert palette numbers to colours, 8 bits each; a palette of greys gives one channel."""
    colours = page.colormap
    if colours is None or reading.data.dtype.kind not in "bu" or colours.shape[1] < 2 ** int(page.bitspersample):
        raise FileError("It has a palette, but not a colour for each of its numbers. Save it in grey or RGB.")
    numbers = reading.data.astype(np.uint8) if reading.data.dtype == bool else reading.data
    table = (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8).T  # (numbers, 3)
    if (table == table[:, :1]).all():
        return replace(reading, data=_mapped(numbers, lambda block: table[:, 0][block]))
    data = _mapped(numbers, lambda block: table[block], new_axis=numbers.ndim)
    return replace(reading, data=data, axes=f"{reading.axes}{SAMPLES}")


def _mapped(data: Any, function: Callable[[np.ndarray], np.ndarray], new_axis: int | None = None) -> Any:
    """Apply a function with an 8-bit result, also to lazy arrays."""
    if isinstance(data, np.ndarray):
        return function(data)
    chunks = data.chunks if new_axis is None else (*data.chunks, (3,))
    return data.map_blocks(function, dtype=np.uint8, new_axis=new_axis, chunks=chunks)


def _from_inks(reading: Reading, page: tifffile.TiffPage) -> Reading:
    """Convert cyan, magenta, yellow and black to red, green and blue, without a colour profile."""
    reading = _with_samples_last(reading)
    inks = reading.data
    if page.tags.valueof(INKS, 1) != 1 or inks.shape[-1] != 4 or inks.dtype not in (np.uint8, np.uint16):
        raise FileError(_unread("printing inks other than CMYK of 8 or 16 bits"))
    most = np.iinfo(inks.dtype).max
    light = (most - inks).astype(np.uint32)
    data = ((light[..., :3] * light[..., 3:] + most // 2) // most).astype(inks.dtype)
    return replace(reading, data=data, notes=(*reading.notes, "It was converted from CMYK to RGB."))


def _from_ycbcr(reading: Reading, page: tifffile.TiffPage) -> Reading:
    reading = _with_samples_last(reading)
    data, tags = reading.data, (YCBCR_COEFFICIENTS, REFERENCE_LEVELS)
    is_usual = all(_numbers(page.tags.get(tag)) in usual for tag, usual in zip(tags, USUAL_YCBCR, strict=True))
    if data.dtype != np.uint8 or data.shape[-1] != 3 or not is_usual:
        raise FileError(_unread("YCbCr of an unusual kind"))
    if not isinstance(data, np.ndarray):
        data = data.rechunk({data.ndim - 1: -1})
    return replace(reading, data=_mapped(data, _rgb_of_ycbcr))


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


def _with_samples_last(reading: Reading) -> Reading:
    axes = reading.axes or ""
    if SAMPLES not in axes:
        raise FileError("Its header says colour, but its pixels have one number each. Save it in grey or RGB.")
    axis = axes.index(SAMPLES)
    order = [*(each for each in range(reading.data.ndim) if each != axis), axis]
    return replace(reading, data=reading.data.transpose(order), axes=axes.replace(SAMPLES, "") + SAMPLES)


MOST_TAGS = 4096
MOST_LEVELS = 256
SUB_DIRECTORIES = 330
DECODING_TAGS = frozenset((256, 257, 258, 259, 262, 266, 277, 284, 317, 322, 323, 339))
"""Width, length, bits, compression, colours …: what planes with the same decoder must have in common."""
USUAL = {259: 1, 266: 1, 277: 1, 284: 1, 317: 1, 339: 1}
"""Default values of optional tags."""
LONG_LSM_BYTES = 2**32
JPEG = (6, 7, 33007, 34892)
JPEG_BLOCK = 16
WHOLE_NUMBERS = {3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class _Format:
    """How the numbers of a directory are stored: as in TIFF, BigTIFF, or NDPI, which is TIFF with longer offsets."""

    order: str
    count: str
    entry: str
    offset: str
    first_at: int


def planes_by_offset(path: Path) -> dict[int, int]:
    """Return the kind of each plane, as a number, by the offset of its directory; refuse a circular or broken chain."""
    size = path.stat().st_size
    planes: dict[int, int] = {}
    with path.open("rb") as file:
        form = _format(file.read(4), path.suffix.lower())
        if form is None or (path.suffix.lower() == ".lsm" and size >= LONG_LSM_BYTES):
            return planes  # tifffile reports what is wrong, and handles the offsets of a long LSM file
        file.seek(form.first_at)
        offset, taken = _offset(file, form), 0
        while offset:
            if offset in planes:
                raise FileError("Its planes form a circle: the last one points to an earlier one. Save it again.")
            if offset >= size:
                raise ValueError(f"some of its planes are missing: plane {len(planes) + 1} is beyond its end")
            file.seek(offset)
            planes[offset] = _plane(file, form, len(planes) + 1)
            offset, taken = _offset(file, form), taken + file.tell() - offset
            if taken > size:
                raise ValueError("its directories take more bytes than it has")
    return planes


def _format(start: bytes, ending: str) -> _Format | None:
    order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
    version = struct.unpack(f"{order}H", start[2:])[0] if order and len(start) == 4 else None
    if version == 43:
        return _Format(order, "Q", "HHQ8s", "Q", 8)
    if version == 42:
        return _Format(order, "H", "HHI4s", "Q" if ending == ".ndpi" and order == "<" else "I", 4)
    return None


def _offset(file: BinaryIO, form: _Format) -> int:
    return int(_unpacked(file, form.order + form.offset)[0])


def _unpacked(file: BinaryIO, layout: str) -> tuple:
    return struct.unpack(layout, _content(file, struct.calcsize(layout)))


def _content(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise ValueError("some of its planes are missing: it ends within a directory")
    return content


def _plane(file: BinaryIO, form: _Format, number: int) -> int:
    """Read a directory, and return a number for the tags that its decoder depends on."""
    count = _unpacked(file, form.order + form.count)[0]
    if count > MOST_TAGS:
        raise ValueError(f"some of its planes are missing: the directory of plane {number} is damaged")
    layout = form.order + form.entry
    content = _content(file, count * struct.calcsize(layout))
    kind = []
    for code, storage, values, field in struct.iter_unpack(layout, content):
        if code == SUB_DIRECTORIES and values > MOST_LEVELS:
            raise ValueError(f"plane {number} claims {values} smaller copies")
        if code in DECODING_TAGS:
            value = _value(form.order, storage, values, field)
            kind += [(code, values, value)] if USUAL.get(code) != value else []
    return hash(frozenset(kind))


def _value(order: str, storage: int, values: int, field: bytes) -> int | None:
    """Return the number that is stored in the directory itself; None if it is stored elsewhere."""
    letter = WHOLE_NUMBERS.get(storage)
    if letter is None or values != 1 or struct.calcsize(letter) > len(field):
        return None
    return int(struct.unpack_from(order + letter, field)[0])


def check_stored(
    series: tifffile.TiffPageSeries, pages: Sequence[Any], planes: Mapping[Path, Mapping[int, int]]
) -> None:
    """Refuse an image unless all of its strips or tiles are in the file.

    `pages` are all of the image, or none if its pixels are one piece; `planes` has the `planes_by_offset` of each file.
    Raises `FileError` if a plane was never written, or differs in kind from the others, `ValueError` if a part is
    missing.
    """
    size = series.keyframe.parent.filehandle.size
    if series.dataoffset is not None:
        if series.dataoffset + series.nbytes > size:
            raise ValueError(f"its pixels take {series.nbytes:,} bytes, but it has {size:,}")
        return
    whole = sum(path.stat().st_size for path in planes)
    check_can_hold(whole, series.nbytes)
    check_can_hold(whole, prod(series.keyframe.chunks) * series.dtype.itemsize)
    needed = -(-series.size // max(1, prod(series.keyframe.shape)))
    if len(pages) < needed:
        raise ValueError(f"some of its planes are missing: it lists {needed}, but has {len(pages)}")
    for keyframe in {id(page.keyframe): page.keyframe for page in pages}.values():
        if keyframe.compression in JPEG:
            _refuse_larger_parts(keyframe)
    stored = size if (is_lsm := series.kind == "lsm") else 0
    files = {id(page.parent): page.parent.filehandle.path for page in pages}
    kinds = {file: planes.get(Path(path).resolve(), {}) for file, path in files.items()}
    for number, page in enumerate(pages):
        stored += _stored_bytes(page, number, is_lsm=is_lsm)
        kind = (known := kinds[id(page.parent)]).get(page.offset)
        if kind is not None and kind != known.get(page.keyframe.offset, kind):
            raise FileError(f"Its plane {number} is stored in another way than the first. Save all in the same way.")
    check_can_hold(stored, series.nbytes)


def _stored_bytes(page: Any, number: int, *, is_lsm: bool) -> int:
    """Return the bytes of a plane, if all are there; a tile of no bytes was omitted."""
    offsets, counts = np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)
    parts = prod(page.chunked)
    if len(offsets) < parts or len(counts) < parts:
        raise ValueError(f"plane {number} has {parts} parts, but positions for {min(len(offsets), len(counts))} only")
    offsets, counts = offsets[:parts], counts[:parts]
    if (offsets > 0).all() and (counts > 0).all() and (offsets + counts).max() <= page.parent.filehandle.size:
        return int(counts.sum())
    is_left_out = (counts == 0) & ((offsets == 0) | page.keyframe.is_tiled)
    if is_left_out.all():
        raise FileError(f"Its plane {number} was never written: the file has none of its pixels. Save it again.")
    if is_lsm:  # LSM gives the size before compression
        counts = np.minimum(counts, 1)
    is_missing = ~is_left_out & ((offsets <= 0) | (counts <= 0) | (offsets + counts > page.parent.filehandle.size))
    if is_missing.any():
        raise ValueError(f"part {int(np.argmax(is_missing)) + 1} of {parts} of plane {number} is missing")
    return int(counts.sum())


def _refuse_larger_parts(keyframe: tifffile.TiffPage) -> None:
    """Refuse a JPEG larger than its tile, which a decoder would fill with grey for minutes."""
    decode = keyframe.decode
    strip = (keyframe.rowsperstrip, keyframe.imagewidth)
    rows, columns = (keyframe.tilelength, keyframe.tilewidth) if keyframe.is_tiled else strip

    def decode_if_it_fits(data: bytes | None, *arguments: Any, **options: Any) -> Any:
        height, width = _jpeg_sides(data or b"")
        if height > rows + JPEG_BLOCK or width > columns + JPEG_BLOCK:
            raise ValueError(f"a part of {columns} × {rows} pixels claims {width} × {height}")
        return decode(data, *arguments, **options)

    keyframe.decode = decode_if_it_fits


def _jpeg_sides(data: bytes) -> tuple[int, int]:
    """Return height and width of a JPEG, or zeros if its header does not have them."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        code, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return height, width
        place += 2 + length
    return 0, 0
