"""The paint of a window, and what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects

from napari_tessera.train.paint_regions import Place, Window, shifted
from napari_tessera.train.targets import BACKGROUND, NOT_PAINTED

Where = tuple[int, Place]
"""Which image, and which plane or volume of it."""


@dataclass(frozen=True)
class Paint:
    """The paint of one window.

    Attributes
    ----------
    where : Where
    origin : tuple of int
        Where blocks of paint begin to be counted, in pixels of the plane or volume.
    window : Window
        In pixels of the plane or volume.
    labels : int32 array
        0 not painted, 1 background, 2… classes or objects; an object has one number in all windows of an image.
    anisotropy : float
        Distance of planes over that of pixels.
    """

    where: Where
    origin: Place
    window: Window
    labels: np.ndarray
    anisotropy: float = 1.0

    @property
    def lengths(self) -> np.ndarray:
        """Length of a pixel along each axis, in pixels of x."""
        return np.array((self.anisotropy, 1.0, 1.0)[-self.labels.ndim :])

    def pixels(self, length_px: float) -> tuple[int, ...]:
        """Return a length as pixels along each axis, one at least."""
        return tuple(int(max(1, round(length_px / each))) for each in self.lengths)


def numbers_of(paints: Sequence[Paint]) -> set[int]:
    """Return all numbers that are painted."""
    return {number for paint in paints for number in np.unique(paint.labels).tolist() if number != NOT_PAINTED}


def object_windows(paints: Sequence[Paint]) -> list[tuple[tuple[int, int], tuple[Paint, Window]]]:
    """List each object as (image, number), with the paint it lies in and the window around it."""
    return [
        ((paint.where[0], number), (paint, shifted(window, paint.window)))
        for paint in paints
        for number, window in enumerate(find_objects(paint.labels), start=1)
        if window is not None and number > BACKGROUND
    ]


def counted(paints: Sequence[Paint]) -> Counter[int]:
    """Count the painted pixels of each number."""
    total: Counter[int] = Counter()
    for paint in paints:
        numbers, counts = np.unique(paint.labels[paint.labels != NOT_PAINTED], return_counts=True)
        total.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    return total
