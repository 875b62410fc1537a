"""The part of a label array that an edit changes: find it around the objects, measure in it, check what is given."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from scipy import ndimage

from napari_tessera.core.errors import InputError, ParameterError, short
from napari_tessera.core.spatial import LARGEST_PIXEL, Layout, check_spacing

Box = tuple[slice, ...]
Numbers = int | Sequence[int]
Spacing = Sequence[float] | float | None
ROUNDING = 1e-9
"""Distances that differ by a smaller share are equal: three pixels of 0.1 are 0.30000000000000004."""


@dataclass(frozen=True)
class Edit:
    """The part of a label array that an operation changes, and its new labels.

    Attributes
    ----------
    where : tuple of slice
        One for each axis, with start and stop.
    labels : array
        The new labels there, of the dtype of the whole array.
    """

    where: Box
    labels: np.ndarray

    def applied_to(self, labels: np.ndarray) -> np.ndarray:
        """Return a changed copy of the labels that the edit was made for."""
        changed = np.array(labels)
        changed[self.where] = self.labels
        return changed

    def changes(self, labels: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Return the pixels of which the label changes, as one array of indices for each axis, and their new labels."""
        differs = labels[self.where] != self.labels
        indices = tuple(index + part.start for index, part in zip(np.nonzero(differs), self.where, strict=True))
        return indices, self.labels[differs]


def part_around(
    labels: np.ndarray, numbers: Numbers, margins_px: Sequence[int] | int = 0
) -> tuple[Edit, dict[int, Box]]:
    """Return the part that holds the objects, as an edit that changes nothing yet, and the box of each object in it.

    The boxes have margins, one number for all axes or one for each, and end at the array's edge. The edit's labels are
    a copy, which the caller changes.
    """
    boxes = _find(labels, numbers)
    margins = np.broadcast_to(np.asarray(margins_px, object), labels.ndim).tolist()
    for number, box in boxes.items():
        sides = zip(box, margins, labels.shape, strict=True)
        boxes[number] = tuple(slice(max(0, b.start - m), min(n, b.stop + m)) for b, m, n in sides)
    along_axes = zip(*boxes.values(), strict=True)
    where = tuple(slice(min(b.start for b in axis), max(b.stop for b in axis)) for axis in along_axes)
    return Edit(where, np.array(labels[where])), {number: moved(box, where, -1) for number, box in boxes.items()}


def _find(labels: np.ndarray, numbers: Numbers) -> dict[int, Box]:
    """Return the bounding box of each object, in the order of `numbers`, from one look at the whole array."""
    refuse_other_than_labels(labels)
    wanted = _distinct(numbers)
    held = np.array([number for number in wanted if number <= np.iinfo(labels.dtype).max], labels.dtype)
    whole = bounding_box(np.isin(labels, held) if len(held) > 1 else labels == wanted[0])
    boxes: dict[int, Box] = {}
    if whole is not None:
        ascending = np.sort(held)
        part = labels[whole]
        index = np.searchsorted(ascending, part).clip(max=len(held) - 1)
        # The numbers may be huge, and find_objects takes memory for the highest one.
        found = ndimage.find_objects(np.where(ascending[index] == part, index + 1, 0), len(held))
        boxes = {int(n): moved(box, whole) for n, box in zip(ascending, found, strict=True) if box is not None}
    missing = [number for number in wanted if number not in boxes]
    if missing:
        raise InputError(f"There is no object {missing[0]} in the labels. Choose a number that is in the labels.")
    return {number: boxes[number] for number in wanted}


def _distinct(numbers: Any) -> list[int]:
    try:
        listed = list(numbers)
    except TypeError:
        listed = [numbers]
    if not listed:
        raise ParameterError("`numbers` is empty. Choose at least one object.", "numbers")
    return list(dict.fromkeys(check_number(number, "numbers") for number in listed))


def bounding_box(mask: np.ndarray) -> Box | None:
    """Return the smallest box that holds all True pixels, or None if there are none."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        inside = mask[tuple(box)]
        is_filled = inside.any(axis=tuple(other for other in range(mask.ndim) if other != axis))
        if not is_filled.any():
            return None
        filled = np.flatnonzero(is_filled)
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def moved(box: Box, where: Box, sign: int = 1) -> Box:
    """Turn a box in the part `where` into one in the whole array; with sign -1, the reverse."""
    return tuple(slice(b.start + sign * w.start, b.stop + sign * w.start) for b, w in zip(box, where, strict=True))


def distance_inside(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Return the distance of each True pixel to the nearest False one, 0 at these; infinity if there is none."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    return ndimage.distance_transform_edt(mask, sampling=spacing)


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Return the distance in pixels to the nearest pixel outside, or minus that to the nearest one inside.

    What lies beyond the array's edge is outside; there must be a pixel inside.
    """
    padded = np.pad(mask, 1)
    distance = ndimage.distance_transform_edt(padded) - ndimage.distance_transform_edt(~padded)
    return distance[(slice(1, -1),) * mask.ndim]


def give_numbers(labels: np.ndarray, edit: Edit, parts: np.ndarray, count: int, free: int | None) -> Edit:
    """Give parts 2…`count` of an object the numbers `free`, `free` + 1, …; part 1 and pixels that are 0 stay."""
    first = int(labels.max()) + 1 if free is None else check_number(free, "free")
    check_fits(labels, first + count - 2)
    new = np.array(range(first, first + count - 1), labels.dtype)
    edit.labels[parts > 1] = new[parts[parts > 1] - 2]
    return edit


def refuse_other_than_labels(labels: np.ndarray) -> None:
    """Refuse labels that are not an array of integers in memory with two or three axes."""
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.ndim not in (2, 3):
        raise InputError(
            f"The labels are {_described(labels)}, but they must be a NumPy array of integers with the axes (Y, X) or "
            "(Z, Y, X)."
        )


def _described(values: Any) -> str:
    if isinstance(values, np.ndarray):
        return f"an array of {values.dtype} of shape {values.shape}"
    return f"of type {type(values).__name__}"


def check_number(value: Any, parameter: str) -> int:
    """Return the number of an object, a whole number above 0."""
    try:
        number = 0 if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ParameterError(f"`{parameter}` has {short(value)}, but objects have whole numbers above 0.", parameter)
    return number


def check_fits(labels: np.ndarray, number: int) -> int:
    """Return a number that the dtype of the labels holds."""
    if number > (highest := np.iinfo(labels.dtype).max):
        raise InputError(
            f"The new number {number} does not fit into {labels.dtype} labels, which go up to {highest}. Convert the "
            "labels to a larger integer type, or use a free number that is smaller."
        )
    return number


def check_index(value: Any, parameter: str, lowest: int, stop: int) -> int:
    """Return the index of an axis or plane, from `lowest` to `stop` - 1."""
    try:
        index = stop if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        index = stop
    if not lowest <= index < stop:
        raise InputError(f"`{parameter}` is {short(value)}, but it must be a whole number from {lowest} to {stop - 1}.")
    return index


def check_distance(value: Any, parameter: str, most: float = LARGEST_PIXEL) -> float:
    """Return a distance in the unit of the spacing, larger by what rounding adds to distances between pixels."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 < value <= most:
        raise ParameterError(
            f"`{parameter}` is {short(value)}, but it must be a number above 0 and at most {most:g}.", parameter
        )
    return float(value) * (1 + ROUNDING)


def pixel_sizes(spacing: Spacing, labels: np.ndarray) -> tuple[float, ...]:
    """Return the size of a pixel along each axis of the labels, 1 without `spacing`."""
    refuse_other_than_labels(labels)
    return check_spacing(spacing, Layout("ZYX"[-labels.ndim :])) or (1.0,) * labels.ndim
