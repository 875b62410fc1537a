"""NumPy's .npy and .npz; pickled data is never loaded."""

from __future__ import annotations

from math import prod
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.lib.format import MAGIC_PREFIX, open_memmap, read_array_header_1_0, read_array_header_2_0, read_magic

from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import LARGEST_COMPRESSION, check_can_hold, check_fits
from napari_tessera.io.image_file import Reading, choose_image

LARGEST_DEFLATION = 1032
"""Compression ratio; zlib reaches 1032 (one bit for 129 bytes)."""


def read_npy(path: Path) -> Reading:
    """Read one array, if the file is as long as its header says."""
    with path.open("rb") as file:
        if file.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:
            raise ValueError("it does not start like a NumPy file")
    mapped = open_memmap(path, mode="r")
    check_fits(mapped.nbytes)
    return Reading(np.array(mapped, order="K"))


def read_npz(path: Path, series: int | str | None = None) -> Reading:
    """Read the only array of an .npz file, or the one with a number."""
    with np.load(path, allow_pickle=False) as arrays:
        if len(arrays.files) != 1 and series is None:
            raise FileError(
                f"It holds {len(arrays.files)} arrays ({', '.join(arrays.files)}), but one is needed. "
                "Choose one by its name or its number from 0, with `series` (--series on the command line), or save it "
                "as .npy."
            )
        number = choose_image({each: (name, ()) for each, name in enumerate(arrays.files)}, series).number
        member = arrays.zip.infolist()[number]
        times = LARGEST_DEFLATION if member.compress_type == ZIP_DEFLATED else LARGEST_COMPRESSION
        check_can_hold(member.compress_size, member.file_size, times=times)
        check_fits(member.file_size)
        _check_length(arrays.zip, member)
        return Reading(arrays[arrays.files[number]])


def _check_length(archive: ZipFile, member: ZipInfo) -> None:
    """Before decompression, refuse an array that is not as long as its header says."""
    with archive.open(member) as file:
        read_header = read_array_header_1_0 if read_magic(file) == (1, 0) else read_array_header_2_0
        shape, _, dtype = read_header(file)
        stated = file.tell() + prod(shape) * dtype.itemsize
    if stated != member.file_size and not dtype.hasobject:
        raise ValueError(f"its header says {stated:,} bytes, but it has {member.file_size:,}")


def write_npy(path: Path, labels: np.ndarray) -> None:
    """Write the labels as they are."""
    # As a stream: NumPy's direct write does not report why it fails, for example a full disk.
    with path.open("wb") as file:
        np.save(SimpleNamespace(write=file.write), labels, allow_pickle=False)
