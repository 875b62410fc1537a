"""Pure label arrays: connected components, sizes, raster-order numbers.

Every label array here is C-ordered, integer, with 0 as background.
"""

from __future__ import annotations

import fastremap
import numpy as np
from scipy import ndimage


def label_dtype(largest: int) -> type[np.signedinteger]:
    """Return int32, or int64 where `largest` does not fit."""
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


def neighbourhood(ndim: int, connectivity: int) -> np.ndarray:
    """Return the (3, …, 3) boolean structuring element; connectivity 1 is faces only, `ndim` all diagonals too."""
    return ndimage.generate_binary_structure(ndim, min(connectivity, ndim))


def connected_components(mask: np.ndarray, connectivity: int = 1) -> np.ndarray:
    """Number the connected regions of `mask` from 1 in raster order of their first pixel; int32, or int64 past 2³¹."""
    dtype = label_dtype(mask.size)
    labels, _ = ndimage.label(mask, neighbourhood(mask.ndim, connectivity), output=dtype)
    return labels


def renumber(labels: np.ndarray) -> np.ndarray:
    """Number objects 1…N in raster order of their first pixel; the result is int32, or int64 past 2³¹.

    The input may be overwritten.
    """
    if labels.size == 0:
        return labels.astype(np.int32)
    labels, mapping = fastremap.renumber(np.ascontiguousarray(labels), start=1, preserve_zero=True, in_place=True)
    return labels.astype(label_dtype(len(mapping)), copy=False)


def sizes(labels: np.ndarray) -> np.ndarray:
    """Return the number of pixels of each label 0…max; index 0 is the background."""
    return np.bincount(labels.reshape(-1))


def drop_small(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Set objects of fewer than `smallest` pixels to 0; the others keep their number."""
    keep = sizes(labels) >= smallest
    keep[0] = False
    return np.where(keep, np.arange(len(keep), dtype=labels.dtype), 0)[labels]
