"""Annotated images: read windows of an annotation, with objects numbered without gaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.ndimage import find_objects

from napari_tessera.core.blockwise import Stored
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.inference.normalization import Kind, Levels
from napari_tessera.training.annotations.windows import (
    Place,
    Window,
    cells,
    painted_windows,
    read_window,
    shifted,
    smallest_window,
)
from napari_tessera.training.data.example import MOST_CLASSES, diameter_of_sizes
from napari_tessera.training.data.targets import BACKGROUND, NOT_PAINTED

Where = tuple[int, Place]
"""Which image, and which plane or volume of it."""


@dataclass(frozen=True)
class AnnotationWindow:
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


def numbers_of(paints: Sequence[AnnotationWindow]) -> set[int]:
    """Return all numbers that are painted."""
    return {number for paint in paints for number in np.unique(paint.labels).tolist() if number != NOT_PAINTED}


def object_windows(paints: Sequence[AnnotationWindow]) -> list[tuple[tuple[int, int], tuple[AnnotationWindow, Window]]]:
    """List each object as (image, number), with the paint it lies in and the window around it."""
    return [
        ((paint.where[0], number), (paint, shifted(window, paint.window)))
        for paint in paints
        for number, window in enumerate(find_objects(paint.labels), start=1)
        if window is not None and number > BACKGROUND
    ]


def counted(paints: Sequence[AnnotationWindow]) -> Counter[int]:
    """Count the painted pixels of each number."""
    total: Counter[int] = Counter()
    for paint in paints:
        numbers, counts = np.unique(paint.labels[paint.labels != NOT_PAINTED], return_counts=True)
        total.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    return total


CELL_PX = {2: (1024, 1024), 3: (64, 512, 512)}
"""Larger windows around paint are cut into cells of these sides, of which only those that hold paint are kept."""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and the paint on it, in memory or stored.

    Attributes
    ----------
    name : str
    image : array, or what is read like one
        (…, [Z,] Y, X), with channels last if there are any.
    paint : integer array, or what is read like one
        (…, [Z,] Y, X): 0 not painted, 1 background, 2… objects or classes.
    dtype : numpy dtype
        Of the image.
    measure : callable (place, kind) -> Job of Levels
        Measures the brightness of the image that a plane or volume is part of; see `nn.intensity` for kinds.
    anisotropy : float
        Distance of planes over that of pixels.
    is_check : bool
        All of its paint is there to validate on.
    """

    name: str
    image: Stored
    paint: Stored
    dtype: np.dtype
    measure: Callable[[Place, Kind], Job[Levels]]
    anisotropy: float = 1.0
    is_check: bool = False

    @property
    def channels(self) -> int:
        """How many channels the image has; 0 where it is grey."""
        return self.image.shape[-1] if len(self.image.shape) > len(self.paint.shape) else 0


@dataclass(frozen=True)
class AnnotationSampling:
    """What to look for in paint, and how.

    Attributes
    ----------
    task : {"objects", "classes"}
    ndim : {2, 3}
    patch_px : int
        Side of a patch, with what is seen around it.
    diameter_px : float or None
        Usual diameter of an object at which the network works; None for classes.
    kind : {"colours", "channels"}
        Of the images; see `nn.intensity`.
    share : float
        Of the paint, held back to validate on.
    seed : int
    ignore : int or None
        A number that counts as not painted.
    """

    task: Literal["objects", "classes"]
    ndim: int
    patch_px: int
    diameter_px: float | None = None
    kind: Kind = "colours"
    share: float = 0.15
    seed: int = 0
    ignore: int | None = None


def check_painted(paints: Sequence[AnnotationWindow]) -> None:
    """Refuse images on which nothing but background is painted.

    Raises
    ------
    InputError
    """
    if not any((paint.labels > BACKGROUND).any() for paint in paints):
        said = "Only background (1) is painted" if paints else "Nothing is painted"
        raise InputError(f"{said}. Paint background with 1, and classes or objects with 2 and above.")


def read_paint(
    paintings: Sequence[AnnotatedImage], lessons: AnnotationSampling
) -> Job[tuple[list[AnnotationWindow], dict[int, np.ndarray]]]:
    """Read all paint; return it, and the numbers of the objects of each image in the order they have from then on.

    Raises
    ------
    InputError
        If a number is negative, or too high for a class.
    """
    paints: list[AnnotationWindow] = []
    for index, painting in enumerate(paintings):
        finding = painted_windows(painting.paint, lessons.ndim)
        windows = yield from subtask(finding, index, 0.5, len(paintings))
        for done, (place, found) in enumerate(windows.items()):
            yield Progress(
                index + 0.5 + 0.5 * done / len(windows), len(paintings), f"Reading the paint on {painting.name}"
            )
            for window in found:
                paints += read_cells(painting, (index, place), window, lessons)
    numbers = {index: object_numbers(paints, index, lessons) for index in range(len(paintings))}
    return [replace(paint, labels=renumbered(paint.labels, numbers[paint.where[0]])) for paint in paints], numbers


def read_cells(
    painting: AnnotatedImage, where: Where, window: Window, lessons: AnnotationSampling
) -> list[AnnotationWindow]:
    """Read the paint in a window, cell by cell; only cells that hold paint remain."""
    origin = tuple(part.start for part in window)
    found = []
    for cell in cells(window, CELL_PX[lessons.ndim]):
        labels = checked_paint(read_window(painting.paint, where[1], cell), painting.name, lessons)
        around = smallest_window(labels)
        if around is not None:
            found.append(AnnotationWindow(where, origin, shifted(around, cell), labels[around], painting.anisotropy))
    return found


def checked_paint(labels: np.ndarray, name: str, lessons: AnnotationSampling) -> np.ndarray:
    """Return paint as int64 without what is to be ignored.

    Raises
    ------
    InputError
        If a number is negative, or too high for a class.
    """
    labels = labels.astype(np.int64)
    if lessons.ignore is not None:
        labels[labels == lessons.ignore] = NOT_PAINTED
    if labels.min(initial=0) < 0:
        raise InputError(f"{name}: the paint holds the number {labels.min()}, but paint is 0 or more.")
    if lessons.task == "classes" and labels.max(initial=0) > MOST_CLASSES:
        raise InputError(
            f"{name}: the paint holds the number {labels.max()}, which are too many classes. If each object has a "
            'number of its own, train with the task "objects".'
        )
    return labels


def object_numbers(paints: Sequence[AnnotationWindow], index: int, lessons: AnnotationSampling) -> np.ndarray:
    """List the numbers of the objects painted on an image, in order; none for classes, which keep theirs."""
    if lessons.task == "classes":
        return np.empty(0, np.int64)
    own = [np.unique(paint.labels[paint.labels > BACKGROUND]) for paint in paints if paint.where[0] == index]
    return np.unique(np.concatenate([np.empty(0, np.int64), *own]))


def renumbered(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Give objects numbers from 2 on without gaps, int32.

    Examples
    --------
    >>> renumbered(np.array([0, 1, 7, 900]), np.array([7, 900])).tolist()
    [0, 1, 2, 3]
    """
    if not len(numbers):
        return labels.astype(np.int32)
    packed = np.searchsorted(numbers, labels) + BACKGROUND + 1
    return np.where(labels > BACKGROUND, packed, labels).astype(np.int32)


def sizes_of(paints: Sequence[AnnotationWindow], lessons: AnnotationSampling) -> dict[Where, np.ndarray]:
    """Count the pixels of each number in each plane or volume."""
    highest = max(int(paint.labels.max(initial=0)) for paint in paints)
    sizes: dict[Where, np.ndarray] = {}
    for paint in paints:
        counts = np.bincount(paint.labels.ravel(), minlength=highest + 1 if lessons.task == "classes" else 0)
        before = sizes.get(paint.where, np.zeros(0, np.int64))
        longer = max(len(before), len(counts))
        sizes[paint.where] = np.pad(before, (0, longer - len(before))) + np.pad(counts, (0, longer - len(counts)))
    return sizes


def usual_diameters(paints: Sequence[AnnotationWindow], lessons: AnnotationSampling) -> dict[int, float | None]:
    """Return the usual diameter of the objects painted on each image."""
    if lessons.task == "classes" or not paints:
        return {}
    found: dict[int, list[np.ndarray]] = {}
    for (index, _), sizes in sizes_of(paints, lessons).items():
        found.setdefault(index, []).append(sizes[BACKGROUND + 1 :])
    lengths = {paint.where[0]: paint.anisotropy for paint in paints}
    return {
        index: diameter_of_sizes(np.concatenate(each), lessons.ndim, lengths[index]) for index, each in found.items()
    }
