"""Training images: `Frame`, an image with its labels, and `Example`, which adds what is measured of it once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import scipy

from napari_tessera.core.errors import InputError
from napari_tessera.core.labels import LabelMapping
from napari_tessera.core.valid_area import Fill
from napari_tessera.inference.normalization import Kind, Levels, measure_levels

NOT_PAINTED, BACKGROUND = 0, 1
"""Numbers in annotations: 0 never counts; classes or objects are 2…"""
ENCLOSED_SHARE = 0.2
"""An object that encloses others of more than this share of its own area is an outline, not an object."""
MOST_CLASSES = 50
PLACES_PER_CLASS = 500
MOST_OF_STROKES = 0.25
"""Share of the windows around annotation that is annotated, above which it is more than a few strokes."""


@dataclass(frozen=True)
class Frame:
    """One plane or volume and its labels."""

    name: str
    image: np.ndarray  # ([Z,] Y, X) or ([Z,] Y, X, C)
    labels: np.ndarray  # ([Z,] Y, X): as in the file
    split: str  # as of `Source`
    group: str = ""
    anisotropy: float = 1.0  # distance of planes divided by the pixel size; 1 in 2-D
    notes: tuple[str, ...] = ()  # on how its files were read

    @property
    def channels(self) -> int:
        """Number of channels; 0 for a grey image."""
        return self.image.shape[-1] if self.image.ndim > self.labels.ndim else 0

    @property
    def dtype(self) -> np.dtype:
        """Type of the image's values."""
        return self.image.dtype


class WithChannels(Protocol):
    """An image with a known number of channels."""

    @property
    def name(self) -> str:
        """Name of the image."""
        ...

    @property
    def channels(self) -> int:
        """Number of channels; 0 for a grey image."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of its values."""
        ...


@dataclass(frozen=True)
class Example:
    """One training image."""

    image: np.ndarray  # ([Z,] Y, X) or ([Z,] Y, X, C)
    labels: np.ndarray  # ([Z,] Y, X): 0 not annotated, 1 background, 2… objects or classes
    levels: Levels
    sizes: np.ndarray  # area (in 3-D volume, in pixels of x cubed) of each number in `labels`
    places: np.ndarray
    """(N, ndim): where patches are sampled, in pixels: the centres of the objects, or some pixels of each class."""
    diameter_px: float | None  # usual diameter of an object; None without objects
    group: str = ""  # kind of the image; rare kinds are used more often
    name: str = ""
    anisotropy: float = 1.0  # distance of planes divided by the pixel size
    is_window: bool = False  # it is a window around annotation, in a larger image
    has_fill: bool = False  # some of it is no image; `levels` are those of the rest

    @property
    def is_coloured(self) -> bool:
        """Whether the image has channels."""
        return self.image.ndim > self.labels.ndim


def kind_of_images(frames: Sequence[WithChannels]) -> tuple[Kind, int]:
    """Return whether the images are grey and RGB ("colours") or have other channels ("channels"), and their number."""
    counts = {frame.channels for frame in frames}
    is_rgb = all(frame.dtype == np.uint8 for frame in frames if frame.channels)
    if counts <= {0, 3} and is_rgb:
        return "colours", 3
    if len(counts) > 1:
        said = ", ".join(f"{frame.name} has {frame.channels or 'none'}" for frame in frames[:3])
        raise InputError(f"All images must have the same number of channels, but {said}. Train on one kind of image.")
    return "channels", counts.pop()


def left_out_note(name: str, fill: Fill | None, valid: np.ndarray) -> str:
    """Return a note on the pixels of an image, or of a window of it, that are no image."""
    return "" if fill is None else f"{name}: {fill.amount(1 - valid.mean())}; they are left out of the training."


def some_notes(notes: Sequence[str]) -> list[str]:
    """Return the first of several notes, with the number of the images that have others."""
    others = f" Other images with such pixels: {len(notes) - 1}." if len(notes) > 1 else ""
    return [notes[0] + others] if notes else []


def object_example(
    image: np.ndarray,
    labels: np.ndarray,
    group: str = "",
    name: str = "",
    *,
    kind: Kind = "colours",
    anisotropy: float = 1.0,
    levels: Levels | None = None,
) -> Example:
    """Measure an image with annotated objects (0 not annotated, 1 background, 2… objects)."""
    sizes = np.bincount(labels.ravel()) * anisotropy
    usual = usual_diameter(np.where(labels > BACKGROUND, labels, 0), anisotropy)
    levels = levels or measure_levels(image, kind)
    return Example(image, labels, levels, sizes, centres(labels), usual, group, name, anisotropy)


def class_example(
    image: np.ndarray,
    labels: np.ndarray,
    group: str = "",
    name: str = "",
    *,
    kind: Kind = "colours",
    anisotropy: float = 1.0,
    levels: Levels | None = None,
) -> Example:
    """Measure an image with annotated classes (0 not annotated, 1 background, 2… classes)."""
    sizes = np.bincount(labels.ravel()) * anisotropy
    levels = levels or measure_levels(image, kind)
    return Example(image, labels, levels, sizes, some_of_each(labels), None, group, name, anisotropy)


def some_of_each(labels: np.ndarray) -> np.ndarray:
    """Return pixels of each class except the background, equally many of each if possible: (N, ndim)."""
    rng = np.random.default_rng(0)
    found = [np.empty((0, labels.ndim))]
    for number in np.unique(labels[labels > BACKGROUND]):
        places = np.argwhere(labels == number)
        found.append(rng.permutation(places)[:PLACES_PER_CLASS])
    return np.concatenate(found).astype(np.float64)


def usual_diameter(labels: np.ndarray, anisotropy: float = 1.0) -> float | None:
    """Return the diameter of a disc (in 3-D a ball) of the usual size, in pixels of x; None without objects."""
    return diameter_of_sizes(np.bincount(labels.ravel())[1:], labels.ndim, anisotropy)


def diameter_of_sizes(sizes: np.ndarray, ndim: int, anisotropy: float = 1.0) -> float | None:
    """Return the diameter of a disc (in 3-D a ball) of the usual size, from the pixels of each object.

    Half of the labelled area is in objects above the usual size. Sizes of 0 are ignored.
    """
    sizes = np.sort(sizes[sizes > 0])
    if sizes.size == 0:
        return None
    share = np.cumsum(sizes) / sizes.sum()
    size = sizes[np.searchsorted(share, 0.5)]
    return float(2 * np.sqrt(size / np.pi)) if ndim == 2 else (6 * float(size) * anisotropy / math.pi) ** (1 / 3)


def centres(labels: np.ndarray) -> np.ndarray:
    """Return the centre of mass of each object: float64 (objects, ndim), in pixels."""
    places = np.nonzero(labels > BACKGROUND)
    numbers = labels[places]
    count = np.bincount(numbers)
    sums = [np.bincount(numbers, weights=along) for along in places]
    return np.stack(sums, 1)[count > 0] / count[count > 0, None]


def as_paint(
    labels: np.ndarray, task: Literal["objects", "classes"], *, is_paint: bool = False, ignore: int | None = None
) -> np.ndarray:
    """Convert labels from a file to annotation: int32, 0 not annotated, 1 background, 2… objects or classes.

    With `is_paint` they are annotation already; otherwise 0 is background and every pixel counts. The number `ignore`
    never counts. An InputError says that a number is negative, or there are too many classes.
    """
    ignored = labels == ignore if ignore is not None else np.zeros(labels.shape, dtype=bool)
    lowest, highest = int(labels.min()), int(labels.max(where=~ignored, initial=0))
    if lowest < 0:
        raise InputError(f"The labels have the number {lowest}, but labels must be 0 or more. Give a label image.")
    if task == "classes" and highest > MOST_CLASSES:
        raise InputError(
            f"The labels have the number {highest}: too many classes. If each object has its own number, "
            'train with the task "objects".'
        )
    if highest > max(labels.size, 2**16):
        first = BACKGROUND if is_paint else 0
        labels = packed_labels(labels, np.unique(labels[labels > first]), first + 1)
    numbers = np.where(ignored, 0, labels).astype(np.int32)
    if not is_paint:
        numbers = painted_objects(numbers) if task == "objects" else numbers + BACKGROUND
    return np.where(ignored, NOT_PAINTED, numbers).astype(np.int32)


def packed_labels(labels: np.ndarray, numbers: np.ndarray, first: int) -> np.ndarray:
    """Renumber the sorted `numbers` from `first` on, int32; all other labels are below `first`, and stay.

    Examples
    --------
    >>> packed_labels(np.array([0, 1, 7, 900]), np.array([7, 900]), 2).tolist()
    [0, 1, 2, 3]
    """
    packed = np.arange(first + len(numbers), dtype=np.int32)
    return LabelMapping(np.append(packed[:first], numbers), packed)[labels]


def painted_objects(labels: np.ndarray) -> np.ndarray:
    """Convert full labels to annotation from 2 on; outlines around other objects become not annotated."""
    painted = labels + BACKGROUND
    for number, window in enumerate(scipy.ndimage.find_objects(labels), start=1):
        if window is None:
            continue
        own = labels[window] == number
        hole = scipy.ndimage.binary_fill_holes(own) & ~own
        if (labels[window][hole] > 0).sum() > ENCLOSED_SHARE * own.sum():
            painted[window][own] = NOT_PAINTED
    return painted


def has_few_strokes(examples: Sequence[Example]) -> bool:
    """Return whether there is so little annotation that a network would overfit."""
    painted = sum(int(np.count_nonzero(each.labels)) for each in examples)
    return painted < MOST_OF_STROKES * sum(each.labels.size for each in examples)
