"""Decide whether an image is processed in blocks, choose the block size, and store the labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.atomic_writes import NEW, explain_refusal, move_together, working_folder
from napari_tessera.core.errors import FileError, InputError, short
from napari_tessera.core.file_checks import read_json
from napari_tessera.core.memory import free_bytes
from napari_tessera.core.method import Method

BLOCK_PX = {2: (2048, 2048), 3: (64, 512, 512)}
MOST_WORKERS = 1024
SHARE_OF_MEMORY = 0.25
"""An array larger than this share of the free memory is not loaded, but processed in blocks."""
LARGE_PX = 2**24
"""If labels go to a folder, a larger image is not loaded, and its objects are not measured."""


@dataclass(frozen=True)
class Blocks:
    """How to run in blocks.

    Attributes
    ----------
    size : tuple of int
        Pixels of a block along z, y, x.
    n_workers : int or None
        Threads; None is one per core.
    scheduler : str or None
        Address of a dask.distributed scheduler, instead of threads.
    out : str or None
        Folder of a zarr array for the labels; None keeps them in memory.
    """

    size: tuple[int, ...]
    n_workers: int | None = None
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
    n_workers: int | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None,
) -> Blocks | None:
    """Return how to run in blocks, or None if no argument asks for blocks.

    Raises
    ------
    InputError
        If the method needs the whole image, or a number is invalid.
    FileError
        If `out` exists.
    """
    if (blocks is None or blocks is False) and n_workers is None and scheduler is None and out is None:
        return None
    if method.join is None:
        raise InputError(
            f"{method.name} needs the whole image at once and cannot run in blocks. Leave out `blocks`, `n_workers`, "
            "`scheduler` and `out`, or segment a region."
        )
    if n_workers is not None and (type(n_workers) is not int or not 1 <= n_workers <= MOST_WORKERS):
        raise InputError(
            f"`n_workers` is {short(n_workers)}, but it must be a whole number of threads, 1 to {MOST_WORKERS}."
        )
    if out is not None:
        check_is_new(Path(out))
    return Blocks(_size(blocks, ndim, method), n_workers, scheduler, None if out is None else str(out))


def _size(blocks: int | Sequence[int] | bool | None, ndim: int, method: Method) -> tuple[int, ...]:
    if blocks is None or isinstance(blocks, bool):
        return (method.block_px or BLOCK_PX)[ndim]
    size = tuple(blocks) if isinstance(blocks, Sequence) else (blocks,) * ndim
    if len(size) != ndim or not all(isinstance(side, (int, np.integer)) and side >= 1 for side in size):
        raise InputError(f"`blocks` is {short(blocks)}, but it needs one side in pixels, or {ndim} (along z, y, x).")
    smallest = method.smallest_block_px.get(ndim, (1,) * ndim)
    if any(side < least for side, least in zip(size, smallest, strict=True)):
        sides = " × ".join(map(str, reversed(smallest)))
        raise InputError(
            f"`blocks` is {short(blocks)}, but each block of {method.name} is read with its surroundings, so small "
            f"ones take very long. The smallest is {sides} px (x first); the default, blocks=True, is best."
        )
    return tuple(int(side) for side in size)


def is_stored(image: Any) -> bool:
    """Return whether an array is read piece by piece (dask, zarr) and not in memory."""
    return not isinstance(image, np.ndarray) and hasattr(image, "shape") and hasattr(image, "chunks")


def fits_in_memory(image: Any) -> bool:
    """Return whether an array needs only a modest share of the free memory."""
    n_bytes = int(np.prod([int(side) for side in image.shape], dtype=np.int64)) * np.dtype(image.dtype).itemsize
    return n_bytes <= SHARE_OF_MEMORY * free_bytes()


def may_be_measured(image: Any, out: str | None) -> bool:
    """Return whether every object is measured after a run in blocks; otherwise the table has only numbers and sizes."""
    return fits_in_memory(image) and not (out is not None and is_large(image))


def is_large(image: Any) -> bool:
    """Return whether an array is so large that it is not loaded if labels go to a folder."""
    return int(np.prod([int(side) for side in image.shape], dtype=np.int64)) > LARGE_PX


def _is_zarr_array(folder: Path) -> bool:
    if not os.path.isfile(folder / "zarr.json"):
        return os.path.isfile(folder / ".zarray")
    try:
        return bool(read_json(folder / "zarr.json")["node_type"] == "array")
    except (FileError, ValueError, LookupError, TypeError):
        return False


def check_is_new(out: Path) -> None:
    """Refuse a file, and a folder with content, for the labels.

    Raises
    ------
    FileError
    """
    if "\0" in str(out):
        raise FileError(f"`out` is {str(out)!r}, but a path cannot contain the character \\0. Choose another folder.")
    if any(_is_zarr_array(folder) for folder in out.absolute().parents):
        raise FileError(f"`out` is {out}, but that lies inside a Zarr array. Choose a folder outside of it.")
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise FileError(f"`out` is {out}, which exists already and is not overwritten. Choose a new folder.")


@contextmanager
def make_output(out: str | None, shape: tuple[int, ...], block: tuple[int, ...], dtype: Any) -> Iterator[Any]:
    """Make the array for the labels: zeros in memory, or a zarr array whose chunks match the blocks.

    The zarr array is in `out` when the `with` block has ended; after an error there is nothing.

    Raises
    ------
    FileError
        If `out` exists, cannot be written or the disk is full.
    """
    if out is None:
        yield np.zeros(shape, dtype)
        return
    path = Path(out).absolute()
    check_is_new(path)
    with working_folder(path.parent, path) as work, explain_refusal(path.parent, only_full=True):
        yield _new_zarr(work / NEW / path.name, shape, block, dtype)
        with suppress(OSError):
            path.rmdir()  # an empty folder
        move_together(work, [path], overwrite=False)


def open_output(out: str) -> Any:
    """Open the zarr array in a folder."""
    import zarr

    return zarr.open_array(out, mode="r+")


def _new_zarr(path: Path, shape: tuple[int, ...], block: tuple[int, ...], dtype: Any) -> Any:
    import zarr

    chunks = (1,) * (len(shape) - len(block)) + tuple(
        min(side, length) for side, length in zip(block, shape[-len(block) :], strict=True)
    )
    with explain_refusal(path.parent):
        return zarr.create_array(path, shape=shape, chunks=chunks, dtype=dtype, fill_value=0, overwrite=False)
