"""An image in a TIFF file that is read piece by piece, and that another process opens by its path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

OPEN_AT_A_TIME = 4


@dataclass(frozen=True, eq=False)
class StoredTiff:
    """One level of the first image of a TIFF file.

    Attributes
    ----------
    path : Path
        Absolute.
    level : int
    array : zarr.Array
        Its pixels; tifffile's own, which goes to no other process.
    """

    path: Path
    level: int
    array: Any

    def __getitem__(self, window: Any) -> np.ndarray:
        """Read a window."""
        return np.asarray(self.array[window])

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return np.dtype(self.array.dtype)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Go to another process as the path."""
        return open_again, (self.path, self.level, self.shape, str(self.dtype))


def open_again(path: Path, level: int, shape: tuple[int, ...], dtype: str) -> StoredTiff:
    """Open a file in another process than the one that read it first.

    Raises
    ------
    FileNotFoundError
        If it is not there, or another one is.
    """
    stored = StoredTiff(path, level, _opened(path, level, path.stat().st_mtime_ns))
    if (stored.shape, str(stored.dtype)) != (shape, dtype):
        raise FileNotFoundError(2, "Another image is in the file", str(path))
    return stored


@lru_cache(OPEN_AT_A_TIME)
def _opened(path: Path, level: int, _written_ns: int) -> Any:
    return zarr.open_array(tifffile.imread(path, aszarr=True, level=level), mode="r")
