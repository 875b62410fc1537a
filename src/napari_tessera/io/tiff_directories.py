"""The directories of a TIFF file, one for each plane, and whether what they speak of is in the file.

A library follows them without end where they lead back, and fills what is not there with zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from napari_tessera.errors import FileError
from napari_tessera.io.open_files import check_can_hold

MOST_TAGS = 4096
MOST_LEVELS = 256
SUB_DIRECTORIES = 330
DECODING_TAGS = frozenset((256, 257, 258, 259, 262, 266, 277, 284, 317, 322, 323, 339))
"""Width, length, bits, compression, colours …: what a plane must share with the one whose decoder it uses."""
USUAL = {259: 1, 266: 1, 277: 1, 284: 1, 317: 1, 339: 1}
"""Values that need not be written."""
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
    """Return how each plane is stored, by the offset of its directory, as a number that planes of one kind share.

    Raises
    ------
    FileError
        If the chain comes back to an earlier directory.
    ValueError
        If it is broken, or the directories take more bytes than the file has.
    """
    size = path.stat().st_size
    planes: dict[int, int] = {}
    with path.open("rb") as file:
        form = _format(file.read(4), path.suffix.lower())
        if form is None or (path.suffix.lower() == ".lsm" and size >= LONG_LSM_BYTES):
            return planes  # tifffile says what is wrong with it, and knows how offsets of a long LSM file go on
        file.seek(form.first_at)
        offset, taken = _offset(file, form), 0
        while offset:
            if offset in planes:
                raise FileError("Its planes go round in a circle: after the last comes an earlier one. Save it again.")
            if offset >= size:
                raise ValueError(f"some of its planes are missing: plane {len(planes) + 1} lies behind its end")
            file.seek(offset)
            planes[offset] = _plane(file, form, len(planes) + 1)
            offset, taken = _offset(file, form), taken + file.tell() - offset
            if taken > size:
                raise ValueError("its directories take more bytes than it has")
    return planes


def _format(start: bytes, ending: str) -> _Format | None:
    order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
    if not order or len(start) < 4:
        return None
    version = struct.unpack(f"{order}H", start[2:4])[0]
    if version == 43:
        return _Format(order, "Q", "HHQ8s", "Q", 8)
    if version != 42:
        return None
    return _Format(order, "H", "HHI4s", "Q" if ending == ".ndpi" and order == "<" else "I", 4)


def _offset(file: BinaryIO, form: _Format) -> int:
    return int(_unpacked(file, form.order + form.offset)[0])


def _unpacked(file: BinaryIO, layout: str) -> tuple:
    content = file.read(struct.calcsize(layout))
    if len(content) < struct.calcsize(layout):
        raise ValueError("some of its planes are missing: it ends within a directory")
    return struct.unpack(layout, content)


def _plane(file: BinaryIO, form: _Format, number: int) -> int:
    """Read a directory; return a number for what a decoder goes by in it."""
    count = _unpacked(file, form.order + form.count)[0]
    if count > MOST_TAGS:
        raise ValueError(f"some of its planes are missing: the directory of plane {number} is damaged")
    layout = form.order + form.entry
    content = file.read(count * struct.calcsize(layout))
    if len(content) < count * struct.calcsize(layout):
        raise ValueError("some of its planes are missing: it ends within a directory")
    kind = []
    for code, storage, values, field in struct.iter_unpack(layout, content):
        if code == SUB_DIRECTORIES and values > MOST_LEVELS:
            raise ValueError(f"it says that plane {number} has {values} smaller copies")
        if code in DECODING_TAGS:
            value = _value(form.order, storage, values, field)
            kind += [(code, values, value)] if USUAL.get(code) != value else []
    return hash(frozenset(kind))


def _value(order: str, storage: int, values: int, field: bytes) -> int | None:
    """Return the one number that is stored in the directory itself; None for what lies elsewhere."""
    letter = WHOLE_NUMBERS.get(storage)
    if letter is None or values != 1 or struct.calcsize(letter) > len(field):
        return None
    return int(struct.unpack_from(order + letter, field)[0])


def check_stored(
    series: tifffile.TiffPageSeries, pages: Sequence[Any], planes: Mapping[Path, Mapping[int, int]]
) -> None:
    """Refuse an image of which not every strip or tile is in the file.

    Parameters
    ----------
    series : TiffPageSeries
    pages : sequence of TiffPage or TiffFrame
        All of the image; empty where its pixels lie in one piece.
    planes : dict
        For each file, what `planes_by_offset` says.

    Raises
    ------
    FileError
        If a plane was never written, or differs in kind from the others.
    ValueError
        If a part is missing.
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
        raise ValueError(f"some of its planes are missing: it speaks of {needed}, but {len(pages)} are there")
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
            raise FileError(f"Its plane {number} is stored in another way than the first. Save all planes alike.")
    check_can_hold(stored, series.nbytes)


def _stored_bytes(page: Any, number: int, *, is_lsm: bool) -> int:
    """Return how many bytes a plane takes, if all of them are there; a tile of no bytes is one that was left out."""
    offsets, counts = np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)
    parts = prod(page.chunked)
    if len(offsets) < parts or len(counts) < parts:
        raise ValueError(
            f"plane {number} has {parts} parts, but says where {min(len(offsets), len(counts))} of them are"
        )
    offsets, counts = offsets[:parts], counts[:parts]
    if (offsets > 0).all() and (counts > 0).all() and (offsets + counts).max() <= page.parent.filehandle.size:
        return int(counts.sum())
    is_left_out = (counts == 0) & ((offsets == 0) | page.keyframe.is_tiled)
    if is_left_out.all():
        raise FileError(f"Its plane {number} was never written: no pixel of it is in the file. Save it again.")
    if is_lsm:  # which gives the size of what is compressed as it was before
        counts = np.minimum(counts, 1)
    is_missing = ~is_left_out & ((offsets <= 0) | (counts <= 0) | (offsets + counts > page.parent.filehandle.size))
    if is_missing.any():
        raise ValueError(f"part {int(np.argmax(is_missing)) + 1} of {parts} of plane {number} is not in it")
    return int(counts.sum())


def _refuse_larger_parts(keyframe: tifffile.TiffPage) -> None:
    """Let a decoder refuse a JPEG that is larger than its place, which it would fill with grey, for minutes."""
    decode = keyframe.decode
    strip = (keyframe.rowsperstrip, keyframe.imagewidth)
    rows, columns = (keyframe.tilelength, keyframe.tilewidth) if keyframe.is_tiled else strip

    def decode_if_it_fits(data: bytes | None, *arguments: Any, **options: Any) -> Any:
        height, width = _jpeg_sides(data or b"")
        if height > rows + JPEG_BLOCK or width > columns + JPEG_BLOCK:
            raise ValueError(f"a part of {columns} × {rows} pixels says that it has {width} × {height}")
        return decode(data, *arguments, **options)

    keyframe.decode = decode_if_it_fits


def _jpeg_sides(data: bytes) -> tuple[int, int]:
    """Return height and width of a JPEG, or zeros if its start does not say."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        code, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return height, width
        place += 2 + length
    return 0, 0
