"""Tasks on their way to another process: stored arrays go as their path, arrays in memory as the part that is needed.

A zarr array is opened anew where the task runs. zarr takes a missing chunk for zeros, and so a missing folder for an
empty image: whether the folder is there is checked first.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import zarr
from zarr.storage import LocalStore

from napari_tessera.large.chunked import read

METADATA = ("zarr.json", ".zarray")
"""One of these files is in the folder of every zarr array."""


@dataclass(frozen=True)
class Folder:
    """A zarr array in a folder.

    Attributes
    ----------
    path : Path
        Absolute.
    shape : tuple of int
    dtype : str
    is_read_only : bool
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    is_read_only: bool

    @classmethod
    def of(cls, array: Any) -> Folder:
        """Return where a zarr array lies, of which the store is a `LocalStore`."""
        path = Path(array.store.root, array.path).absolute()
        return cls(path, tuple(array.shape), str(array.dtype), array.read_only)

    def open(self) -> zarr.Array:
        """Open the array.

        Raises
        ------
        FileNotFoundError
            If it is not there, or another one is.
        """
        if any((self.path / name).is_file() for name in METADATA):
            array = zarr.open_array(self.path, mode="r" if self.is_read_only else "r+")
            if (tuple(array.shape), str(array.dtype)) == (self.shape, self.dtype):
                return array
        raise FileNotFoundError(2, "No such zarr array", str(self.path))


def packed(task: Any) -> bytes:
    """Pack a task with its arguments; a dask array is read here if it would take more than its own pixels with it."""
    file = io.BytesIO()
    _Packer(file).dump(task)
    return file.getvalue()


def unpacked(task: bytes) -> Any:
    """Unpack a task, and open the arrays in folders that it needs.

    Raises
    ------
    FileNotFoundError
        If one is not there.
    """
    return _Unpacker(io.BytesIO(task)).load()


class _Packer(cloudpickle.Pickler):
    """Pickles an array in a folder as its path, and a dask array as how to read it or, if need be, as its pixels."""

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, zarr.Array) and isinstance(thing.store, LocalStore):
            return Folder.of(thing)
        return _lazily(thing) if isinstance(thing, da.Array) else None


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, sent: Any) -> Any:
        if isinstance(sent, Folder):
            return sent.open()
        return unpacked(sent) if isinstance(sent, bytes) else sent


class _Held(Exception):
    """What a dask array is made of lies in memory."""


class _LazyPacker(_Packer):
    """Packs how to read a dask array, unless that takes arrays in memory of more than `most_bytes` with it."""

    def __init__(self, file: io.BytesIO, most_bytes: int) -> None:
        super().__init__(file)
        self.left = most_bytes

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, da.Array):
            return None
        if isinstance(thing, np.ndarray):
            self.left -= thing.nbytes
            if self.left < 0:
                raise _Held
        return super().persistent_id(thing)


def _lazily(array: da.Array) -> bytes | np.ndarray:
    (needed,) = dask.optimize(array)
    file = io.BytesIO()
    try:
        _LazyPacker(file, int(array.nbytes)).dump(needed)
    except (_Held, TypeError, AttributeError, pickle.PicklingError):
        return read(array)
    return file.getvalue()
