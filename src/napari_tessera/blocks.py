"""Images in blocks: when to cut one up, where the labels go, and what is known of the objects afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from napari_tessera.errors import FileError, InputError
from napari_tessera.registry import Method

BLOCK_PX = {2: (2048, 2048), 3: (64, 512, 512)}
SHARE_OF_MEMORY = 0.25
"""An array larger than this share of the free memory is left where it lies and worked on in blocks."""
LARGE_PX = 2**24
"""Where labels go to a folder, a larger image is not brought into memory, nor its objects measured one by one."""


@dataclass(frozen=True)
class Blocks:
    """How to run in blocks.

    Attributes
    ----------
    size : tuple of int
        Pixels of a block along z, y, x.
    workers : int or None
        Threads; None is one per processor.
    scheduler : str or None
        Address of a dask.distributed scheduler, instead of threads.
    out : str or None
        Folder of a zarr array to write the labels to; None keeps them in memory.
    """

    size: tuple[int, ...]
    workers: int | None = None
    scheduler: str | None = None
    out: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what a replay needs: the size of the blocks."""
        return {"size": list(self.size)}


def check_blocks(
    method: Method,
    ndim: int,
    *,
    blocks: int | Sequence[int] | bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None,
) -> Blocks | None:
    """Return how to run in blocks, or None where nothing asks for it.

    Raises
    ------
    InputError
        If the method needs the whole image, or a number makes no sense.
    """
    if (blocks is None or blocks is False) and workers is None and scheduler is None and out is None:
        return None
    if method.join is None:
        raise InputError(
            f"{method.name} needs the whole image at once and cannot run in blocks. Leave out `blocks`, `workers`, "
            "`scheduler` and `out`, or segment a region."
        )
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise InputError(f"`workers` is {workers!r}, but it must be a whole number of threads, 1 or more.")
    return Blocks(_size(blocks, ndim, method), workers, scheduler, None if out is None else str(out))


def _size(blocks: int | Sequence[int] | bool | None, ndim: int, method: Method) -> tuple[int, ...]:
    if blocks is None or isinstance(blocks, bool):
        return (method.block_px or BLOCK_PX)[ndim]
    size = tuple(blocks) if isinstance(blocks, Sequence) else (blocks,) * ndim
    if len(size) != ndim or not all(isinstance(side, (int, np.integer)) and side >= 1 for side in size):
        raise InputError(f"`blocks` is {blocks!r}, but it needs one side in pixels, or {ndim} (along z, y, x).")
    smallest = method.smallest_block_px.get(ndim, (1,) * ndim)
    if any(side < least for side, least in zip(size, smallest, strict=True)):
        sides = " × ".join(map(str, reversed(smallest)))
        raise InputError(
            f"`blocks` is {blocks!r}, but each block of {method.name} is seen with its surroundings, so that small "
            f"ones take very long. The smallest is {sides} px (x first); the usual ones, with blocks=True, are best."
        )
    return tuple(int(side) for side in size)


def is_stored(image: Any) -> bool:
    """Say whether an array is read piece by piece (dask, zarr) rather than held in memory."""
    return not isinstance(image, np.ndarray) and hasattr(image, "shape") and hasattr(image, "chunks")


def fits_in_memory(image: Any) -> bool:
    """Say whether an array takes no more than a modest share of the free memory."""
    n_bytes = int(np.prod([int(side) for side in image.shape], dtype=np.int64)) * np.dtype(image.dtype).itemsize
    return n_bytes <= SHARE_OF_MEMORY * psutil.virtual_memory().available


def may_be_measured(image: Any, out: str | None) -> bool:
    """Say whether every object is measured after a run in blocks; otherwise the table holds numbers and sizes."""
    return fits_in_memory(image) and not (out is not None and is_large(image))


def is_large(image: Any) -> bool:
    """Say whether an array has so many pixels that it is better left where it lies, if labels need not be held."""
    return int(np.prod([int(side) for side in image.shape], dtype=np.int64)) > LARGE_PX


def make_output(out: str | None, shape: tuple[int, ...], block: tuple[int, ...], dtype: Any) -> Any:
    """Make the array that the labels are written to: zeros in memory, or a new zarr array whose chunks fit the blocks.

    Raises
    ------
    FileError
        If the folder exists already or cannot be written.
    """
    if out is None:
        return np.zeros(shape, dtype)
    import zarr

    chunks = (1,) * (len(shape) - len(block)) + tuple(
        min(side, length) for side, length in zip(block, shape[-len(block) :], strict=True)
    )
    try:
        return zarr.create_array(out, shape=shape, chunks=chunks, dtype=dtype, fill_value=0, overwrite=False)
    except (OSError, ValueError) as error:
        raise FileError(f"The labels cannot be written to {out} ({error}). Choose a new folder.") from error
