"""A picture read from a file: its pixels, what its axes mean, and where it lies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.errors import InputError
from napari_tessera.layout import CHANNEL, check_axes, guess_axes
from napari_tessera.spatial import PIXEL, SPATIAL_AXES, Spatial

NUMBERS = "buif"
"""Kinds of values that are real numbers, as NumPy names them."""


@dataclass(frozen=True)
class Picture:
    """An image as it was read.

    Attributes
    ----------
    name : str
        Name of the file without its ending.
    data : array
        NumPy, or a dask array where the file is large or an OME-Zarr: nothing is read before it is asked for.
    spatial : Spatial
        Placement of the axes other than the channels.
    axes : str
        One letter per axis of `data`, with "C" where there are channels.
    path : Path or None
        Where it was read from.
    has_guessed_axes : bool
        Whether nobody said what the axes are, neither the file nor who read it.
    notes : tuple of str
        What was done to the pixels because of how they were stored, and what was left unread.
    """

    name: str
    data: Any
    spatial: Spatial
    axes: str
    path: Path | None = None
    has_guessed_axes: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """What a file says of one axis."""

    size: float = 1.0
    offset: float = 0.0
    unit: str = PIXEL


@dataclass(frozen=True)
class Reading:
    """What one format's reader found, before axes of length one are dropped.

    Attributes
    ----------
    data : array
    axes : str or None
        One letter per axis; "Q" and "I" are axes whose meaning the file does not tell. None where it tells nothing.
    places : dict of str to Place
        By axis letter; axes that are missing have pixels of size 1.
    notes : tuple of str
        What was done to the pixels because of how they were stored, and what was left unread.
    """

    data: Any
    axes: str | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def note_of_others(count: int) -> tuple[str, ...]:
    """Return the note that a file holds `count` images, if the first is not the only one."""
    return (f"It holds {count:,} images; the first was read.",) if count > 1 else ()


def sized(size: Any, unit: str, offset: float = 0.0) -> Place:
    """Return a `Place`, or the plain one where `size` is no positive number."""
    try:
        size = abs(float(size))
    except (TypeError, ValueError):
        return Place()
    return Place(size, float(offset), unit) if math.isfinite(size) and size > 0 else Place()


def finish(reading: Reading, name: str, path: Path | None, axes: str | None) -> Picture:
    """Name the axes (as `axes` says, else as the file says, else by guessing) and drop those of length one."""
    data, letters, places = reading.data, reading.axes, dict(reading.places)
    if np.dtype(data.dtype).kind not in NUMBERS:
        raise InputError(f"It holds {data.dtype} values, but an image holds real numbers (integers or floats).")
    is_unsaid = letters is None or bool(set(letters) & set("QI"))
    if axes is not None and len(axes) == data.ndim:
        places = _renamed(places, letters or axes, axes.upper())
        letters = check_axes(axes, data.shape, data.dtype).axes
    elif letters is None or is_unsaid:
        data, letters = _guessed(data)
    else:
        data, letters = _channels_in_one(data, letters.replace("S", CHANNEL) if CHANNEL not in letters else letters)
    data, letters = _without_singletons(data, letters)
    if axes is not None and letters != axes.upper():
        places = _renamed(places, letters, axes.upper()) if len(axes) == len(letters) else places
        letters = check_axes(axes, data.shape, data.dtype).axes
    spatial = _spatial(letters.replace(CHANNEL, ""), places)
    return Picture(name, data, spatial, letters, path, axes is None and is_unsaid, reading.notes)


def _renamed(places: Mapping[str, Place], old: str, new: str) -> dict[str, Place]:
    """Keep the size of an axis under its new name if both names are of space, or both are not."""
    return {
        after: places[before]
        for before, after in zip(old, new, strict=True)
        if before in places and (before in SPATIAL_AXES) == (after in SPATIAL_AXES)
    }


def _guessed(data: Any) -> tuple[Any, str]:
    if data.ndim < 2:
        raise InputError(f"It has shape {tuple(data.shape)}, but an image has at least two axes, Y and X.")
    keep = [axis for axis, size in enumerate(data.shape) if size > 1 or axis >= data.ndim - 2]
    data = data.reshape([data.shape[axis] for axis in keep])
    return data, guess_axes(data.shape, np.dtype(data.dtype))


def _channels_in_one(data: Any, letters: str) -> tuple[Any, str]:
    """Join channels that are themselves colour: (C, Y, X, S) becomes (Y, X, C · S)."""
    if "S" not in letters:
        return data, letters
    order = [axis for axis, letter in enumerate(letters) if letter not in "CS"]
    moved = data.transpose([*order, letters.index(CHANNEL), letters.index("S")])
    kept = "".join(letters[axis] for axis in order)
    return moved.reshape([*moved.shape[:-2], moved.shape[-2] * moved.shape[-1]]), kept + CHANNEL


def _without_singletons(data: Any, letters: str) -> tuple[Any, str]:
    drop = [axis for axis, letter in enumerate(letters) if data.shape[axis] == 1 and letter not in "YX"]
    index = tuple(0 if axis in drop else slice(None) for axis in range(data.ndim))
    kept = "".join(letter for axis, letter in enumerate(letters) if axis not in drop)
    return (data[index] if drop else data), kept


def _spatial(axes: str, places: Mapping[str, Place]) -> Spatial:
    found = [places.get(axis, Place()) for axis in axes]
    return Spatial(
        axes,
        tuple(place.size for place in found),
        tuple(place.offset for place in found),
        tuple(place.unit for place in found),
    )
