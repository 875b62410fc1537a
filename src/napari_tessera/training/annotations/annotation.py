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
"""Index of an image, and of a plane or volume in it."""


@dataclass(frozen=True)
class AnnotationWindow:
    """The annotation of one window.

    Attributes
    ----------
    where : Where
    origin : tuple of int
        Where the blocks for holding out begin, in pixels of the plane or volume.
    window : Window
        In pixels of the plane or volume.
    labels : int32 array
        0 not annotated, 1 background, 2… classes or objects; an object has one number in all windows of an image.
    anisotropy : float
        Distance of planes divided by the pixel size.
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
        """Return a length in pixels along each axis, at least 1."""
        return tuple(int(max(1, round(length_px / each))) for each in self.lengths)


def numbers_of(paints: Sequence[AnnotationWindow]) -> set[int]:
    """Return all annotated numbers."""
    return {number for paint in paints for number in np.unique(paint.labels).tolist() if number != NOT_PAINTED}


def object_windows(paints: Sequence[AnnotationWindow]) -> list[tuple[tuple[int, int], tuple[AnnotationWindow, Window]]]:
    """List each object as (image, number), with its annotation and the window around it."""
    return [
        ((paint.where[0], number), (paint, shifted(window, paint.window)))
        for paint in paints
        for number, window in enumerate(find_objects(paint.labels), start=1)
        if window is not None and number > BACKGROUND
    ]


def counted(paints: Sequence[AnnotationWindow]) -> Counter[int]:
    """Count the annotated pixels of each number."""
    total: Counter[int] = Counter()
    for paint in paints:
        numbers, counts = np.unique(paint.labels[paint.labels != NOT_PAINTED], return_counts=True)
        total.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    return total


CELL_PX = {2: (1024, 1024), 3: (64, 512, 512)}
"""Sides of the cells into which large windows are cut; only cells with annotation are kept."""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its annotation, in memory or stored.

    Attributes
    ----------
    name : str
    image : array, or what is read like one
        (…, [Z,] Y, X), with channels last if any.
    paint : integer array, or what is read like one
        (…, [Z,] Y, X): 0 not annotated, 1 background, 2… objects or classes.
    dtype : numpy dtype
        Of the image.
    measure : callable (place, kind) -> Job of Levels
        Measures the intensity levels of the image that contains a plane or volume; see `inference.normalization`.
    anisotropy : float
        Distance of planes divided by the pixel size.
    is_check : bool
        All of its annotation is for validation.
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
        """Number of channels; 0 for a grey image."""
        return self.image.shape[-1] if len(self.image.shape) > len(self.paint.shape) else 0


@dataclass(frozen=True)
class AnnotationSampling:
    """How annotations are split into windows and examples.

    Attributes
    ----------
    task : {"objects", "classes"}
    ndim : {2, 3}
    patch_px : int
        Side of a patch, with its margin.
    diameter_px : float or None
        Usual object diameter at the network's scale; None for classes.
    kind : {"colours", "channels"}
        Of the images; see `inference.normalization`.
    share : float
        Share of the annotation that is held out for validation.
    seed : int
    ignore : int or None
        A number that counts as not annotated.
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
    """Refuse images with no annotation but background.

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
    """Read all annotations; return them, and the original numbers of each image's objects, which are renumbered.

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
                index + 0.5 + 0.5 * done / len(windows), len(paintings), f"Reading the annotation of {painting.name}"
            )
            for window in found:
                paints += read_cells(painting, (index, place), window, lessons)
    numbers = {index: object_numbers(paints, index, lessons) for index in range(len(paintings))}
    return [replace(paint, labels=renumbered(paint.labels, numbers[paint.where[0]])) for paint in paints], numbers


def read_cells(
    painting: AnnotatedImage, where: Where, window: Window, lessons: AnnotationSampling
) -> list[AnnotationWindow]:
    """Read the annotation in a window, cell by cell, without empty cells."""
    origin = tuple(part.start for part in window)
    found = []
    for cell in cells(window, CELL_PX[lessons.ndim]):
        labels = checked_paint(read_window(painting.paint, where[1], cell), painting.name, lessons)
        around = smallest_window(labels)
        if around is not None:
            found.append(AnnotationWindow(where, origin, shifted(around, cell), labels[around], painting.anisotropy))
    return found


def checked_paint(labels: np.ndarray, name: str, lessons: AnnotationSampling) -> np.ndarray:
    """Return annotation as int64 without the ignored number.

    Raises
    ------
    InputError
        If a number is negative, or too high for a class.
    """
    labels = labels.astype(np.int64)
    if lessons.ignore is not None:
        labels[labels == lessons.ignore] = NOT_PAINTED
    if labels.min(initial=0) < 0:
        raise InputError(f"{name}: the annotation has the number {labels.min()}, but numbers must be 0 or more.")
    if lessons.task == "classes" and labels.max(initial=0) > MOST_CLASSES:
        raise InputError(
            f"{name}: the annotation has the number {labels.max()}: too many classes. If each object has its "
            'own number, train with the task "objects".'
        )
    return labels


def object_numbers(paints: Sequence[AnnotationWindow], index: int, lessons: AnnotationSampling) -> np.ndarray:
    """Return the sorted numbers of the annotated objects of an image; empty for classes, which are not renumbered."""
    if lessons.task == "classes":
        return np.empty(0, np.int64)
    own = [np.unique(paint.labels[paint.labels > BACKGROUND]) for paint in paints if paint.where[0] == index]
    return np.unique(np.concatenate([np.empty(0, np.int64), *own]))


def renumbered(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Renumber objects from 2 on without gaps, int32.

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
    """Return the usual diameter of the annotated objects of each image."""
    if lessons.task == "classes" or not paints:
        return {}
    found: dict[int, list[np.ndarray]] = {}
    for (index, _), sizes in sizes_of(paints, lessons).items():
        found.setdefault(index, []).append(sizes[BACKGROUND + 1 :])
    lengths = {paint.where[0]: paint.anisotropy for paint in paints}
    return {
        index: diameter_of_sizes(np.concatenate(each), lessons.ndim, lengths[index]) for index, each in found.items()
    }
