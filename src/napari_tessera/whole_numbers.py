"""Labels stored as floating-point numbers, as ImageJ writes them: taken for what they are if all are whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_tessera.errors import InputError, TesseraError

LARGEST = float(2**63)
"""Labels must stay below."""


def whole_numbers(labels: Any, name: str, error: type[TesseraError] = InputError) -> Any:
    """Return floating-point labels as int32, or int64 where they are larger; those of an integer type as they are.

    Parameters
    ----------
    labels : array
        Anything with a dtype.
    name : str
        What to call it in errors.
    error : type
        What is raised.

    Raises
    ------
    InputError
        Or `error`: if a value is not whole, not finite or too large, or floating-point values are not in memory.

    Examples
    --------
    >>> whole_numbers(np.array([0.0, 7.0], np.float32), "cells.tif")
    array([0, 7], dtype=int32)
    """
    dtype = np.dtype(labels.dtype)
    if dtype.kind in "bui":
        return labels
    if dtype.kind != "f":
        raise error(f"{name} holds {dtype} values, but labels are whole numbers. Give a label image.")
    refuse_unread_floats(labels, name, error)
    array = np.asarray(labels)
    smallest, largest = float(array.min(initial=0)), float(array.max(initial=0))
    if not np.isfinite([smallest, largest]).all():
        raise error(_not_whole(array[~np.isfinite(array)][0], name))
    if smallest < -LARGEST or largest >= LARGEST:
        value = largest if largest >= LARGEST else smallest
        raise error(f"{name} holds {value:g}, but labels go from 0 (background) up to 2⁶³ − 1. Give a label image.")
    is_small = max(-smallest, largest) <= np.iinfo(np.int32).max
    whole = array.astype(np.int32 if is_small else np.int64)
    is_wrong = whole != array
    if is_wrong.any():
        raise error(_not_whole(array[is_wrong][0], name))
    return whole


def refuse_unread_floats(labels: Any, name: str, error: type[TesseraError] = InputError) -> None:
    """Refuse floating-point labels that are read piece by piece (dask, zarr), without reading any.

    Raises
    ------
    InputError
        Or `error`.
    """
    if hasattr(labels, "chunks") and np.dtype(labels.dtype).kind == "f":
        raise error(
            f"{name} holds {labels.dtype} values and is not in memory (shape {tuple(labels.shape)}), so that nobody "
            "knows whether all are whole numbers, as labels are. Convert it to an integer type first: in Python "
            "labels.astype('int32'), in ImageJ Image > Type > 16-bit, without scaling."
        )


def _not_whole(value: np.floating, name: str) -> str:
    return f"{name} holds {value!s}, but labels are whole numbers. Give a label image."
