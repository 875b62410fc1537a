"""Annotated images: read windows of an annotation, with objects numbered without gaps."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import scipy

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.valid_area import Fill, filled
from napari_tessera.inference.normalization import Kind, Levels, kind_of
from napari_tessera.training.data.example import BACKGROUND, MOST_CLASSES, NOT_PAINTED, diameter_of_sizes, packed_labels

if TYPE_CHECKING:
    from napari_tessera.inference.pixel_grid import NormalizedImage

Window = tuple[slice, ...]
"""A slice of pixels along each axis in space."""
Place = tuple[int, ...]
"""A plane or volume of an image: an index for each axis that is not space."""
Where = tuple[int, Place]
"""Index of an image, and of a plane or volume in it."""


class Readable(Protocol):
    """An array in memory, or what is read like one, such as a dask or Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    def __getitem__(self, window: Any, /) -> Any:
        """Read a part."""


@dataclass(frozen=True)
class AnnotationWindow:
    """The annotation of one window."""

    where: Where
    origin: Place  # where the blocks for holding out begin, in pixels of the plane or volume
    window: Window  # in pixels of the plane or volume
    labels: np.ndarray
    """0 not annotated, 1 background, 2… classes or objects; an object has one number in all windows of an image."""
    anisotropy: float = 1.0  # distance of planes divided by the pixel size

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
        for number, window in enumerate(scipy.ndimage.find_objects(paint.labels), start=1)
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
    """An image and its annotation, in memory or stored."""

    name: str
    image: Readable  # (…, [Z,] Y, X), with channels last if any
    paint: Readable  # (…, [Z,] Y, X): 0 not annotated, 1 background, 2… objects or classes
    dtype: np.dtype  # of the image
    measure: Callable[[Place, Kind], Job[Levels]]
    """Measures the levels of the image that contains a plane or volume; see `inference.normalization`."""
    anisotropy: float = 1.0  # distance of planes divided by the pixel size
    is_check: bool = False  # all of its annotation is for validation
    fill: Callable[[Place], Fill | None] = lambda _: None
    """Finds what is no image in the stack that contains a plane or volume."""
    notes: tuple[str, ...] = ()  # on how its files were read
    masked: np.ndarray | None = None  # (…, [Z,] Y, X), True where a masked array is masked

    @property
    def channels(self) -> int:
        """Number of channels; 0 for a grey image."""
        return self.image.shape[-1] if len(self.image.shape) > len(self.paint.shape) else 0

    def view(self, place: Place, window: Window, header: Mapping[str, Any]) -> Job[NormalizedImage]:
        """Read a part of the image for a model, at the brightness of the whole plane or volume."""
        from napari_tessera.inference.pixel_grid import NormalizedImage  # it loads numba

        levels = yield from self.measure(place, kind_of(header))
        spacing = (self.anisotropy, 1.0, 1.0)[-len(window) :]
        return NormalizedImage(self.read(place, window)[0], levels, self.channels > 0, spacing)

    def read(self, place: Place, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a window, mirrored beyond the image, and where it is image, ([Z,] Y, X); None if all of it is.

        What is no image has values near by.
        """
        image, valid = read_window(self.image, place, window), self.valid_in(place, window)
        fill = self.fill(place)
        if fill is None or valid is None:
            return image, None
        return filled(image, valid, image.ndim - 1 if self.channels else None, fill.typical), valid

    def valid_in(self, place: Place, window: Window) -> np.ndarray | None:
        """Return where a window is image, ([Z,] Y, X); None if all of it is."""
        fill = self.fill(place)
        if fill is None:
            return None
        image = read_window(self.image, place, window)
        masked = None if self.masked is None else read_window(self.masked, place, window)
        return fill.valid(image, image.ndim - 1 if self.channels else None, masked)

    def without_fill(self, labels: np.ndarray, place: Place, window: Window) -> np.ndarray:
        """Set the labels of a window to 0 where there is no image."""
        valid = self.valid_in(place, window)
        return labels if valid is None else np.where(valid, labels, 0)


@dataclass(frozen=True)
class AnnotationSampling:
    """How annotations are split into windows and examples."""

    task: Literal["objects", "classes"]
    ndim: int
    patch_px: int  # side of a patch, with its margin
    diameter_px: float | None = None  # usual object diameter at the network's scale; None for classes
    kind: Kind = "colours"  # of the images; see `inference.normalization`
    share: float = 0.15  # share of the annotation that is held out for validation
    seed: int = 0
    ignore: int | None = None  # a number that counts as not annotated


def check_painted(paints: Sequence[AnnotationWindow]) -> None:
    """Refuse images with no annotation but background."""
    if not any((paint.labels > BACKGROUND).any() for paint in paints):
        said = "Only background (1) is painted" if paints else "Nothing is painted"
        raise InputError(f"{said}. Paint background with 1, and classes or objects with 2 and above.")


def read_paint(
    paintings: Sequence[AnnotatedImage], sampling: AnnotationSampling
) -> Job[tuple[list[AnnotationWindow], dict[int, np.ndarray]]]:
    """Read all annotations; return them, and the original numbers of each image's objects, which are renumbered.

    An InputError says that a number is negative, or too high for a class.
    """
    paints: list[AnnotationWindow] = []
    windows_found = False
    for index, painting in enumerate(paintings):
        finding = painted_windows(painting.paint, sampling.ndim)
        windows = yield from subtask(finding, index, 0.5, len(paintings))
        windows_found |= bool(windows)
        for done, (place, found) in enumerate(windows.items()):
            yield Progress(
                index + 0.5 + 0.5 * done / len(windows), len(paintings), f"Reading the annotation of {painting.name}"
            )
            for window in found:
                paints += read_cells(painting, (index, place), window, sampling)
    if windows_found and not paints:
        raise InputError("All annotation lies where there is no image: NaN, masked, transparent or padding.")
    numbers = {index: object_numbers(paints, index, sampling) for index in range(len(paintings))}
    return [
        replace(paint, labels=packed_labels(paint.labels, numbers[paint.where[0]], BACKGROUND + 1)) for paint in paints
    ], numbers


def read_cells(
    painting: AnnotatedImage, where: Where, window: Window, sampling: AnnotationSampling
) -> list[AnnotationWindow]:
    """Read the annotation in a window, cell by cell, without empty cells."""
    origin = tuple(part.start for part in window)
    found = []
    for cell in cells(window, CELL_PX[sampling.ndim]):
        labels = checked_paint(read_window(painting.paint, where[1], cell), painting.name, sampling)
        labels = painting.without_fill(labels, where[1], cell)
        around = smallest_window(labels)
        if around is not None:
            found.append(AnnotationWindow(where, origin, shifted(around, cell), labels[around], painting.anisotropy))
    return found


def checked_paint(labels: np.ndarray, name: str, sampling: AnnotationSampling) -> np.ndarray:
    """Return annotation as int64 without the ignored number; refuse numbers below 0, or too high for a class."""
    labels = labels.astype(np.int64)
    if sampling.ignore is not None:
        labels[labels == sampling.ignore] = NOT_PAINTED
    if labels.min(initial=0) < 0:
        raise InputError(f"{name}: the annotation has the number {labels.min()}, but numbers must be 0 or more.")
    if sampling.task == "classes" and labels.max(initial=0) > MOST_CLASSES:
        raise InputError(
            f"{name}: the annotation has the number {labels.max()}: too many classes. If each object has its "
            'own number, train with the task "objects".'
        )
    return labels


def object_numbers(paints: Sequence[AnnotationWindow], index: int, sampling: AnnotationSampling) -> np.ndarray:
    """Return the sorted numbers of the annotated objects of an image; for classes, which keep theirs, all numbers."""
    if sampling.task == "classes":
        return np.arange(BACKGROUND + 1, MOST_CLASSES + 1)
    own = [np.unique(paint.labels[paint.labels > BACKGROUND]) for paint in paints if paint.where[0] == index]
    return np.unique(np.concatenate([np.empty(0, np.int64), *own]))


def sizes_of(paints: Sequence[AnnotationWindow], sampling: AnnotationSampling) -> dict[Where, np.ndarray]:
    """Count the pixels of each number in each plane or volume."""
    highest = max(int(paint.labels.max(initial=0)) for paint in paints)
    sizes: dict[Where, np.ndarray] = {}
    for paint in paints:
        counts = np.bincount(paint.labels.ravel(), minlength=highest + 1 if sampling.task == "classes" else 0)
        before = sizes.get(paint.where, np.zeros(0, np.int64))
        longer = max(len(before), len(counts))
        sizes[paint.where] = np.pad(before, (0, longer - len(before))) + np.pad(counts, (0, longer - len(counts)))
    return sizes


def usual_diameters(paints: Sequence[AnnotationWindow], sampling: AnnotationSampling) -> dict[int, float | None]:
    """Return the usual diameter of the annotated objects of each image."""
    if sampling.task == "classes" or not paints:
        return {}
    found: dict[int, list[np.ndarray]] = {}
    for (index, _), sizes in sizes_of(paints, sampling).items():
        found.setdefault(index, []).append(sizes[BACKGROUND + 1 :])
    lengths = {paint.where[0]: paint.anisotropy for paint in paints}
    return {
        index: diameter_of_sizes(np.concatenate(each), sampling.ndim, lengths[index]) for index, each in found.items()
    }


BLOCK_PX = 128
"""Annotation nearer than this is in one window. The blocks of the search must not be larger."""
READ_PX = 1024
PLANES_AT_ONCE = 16


def painted_windows(paint: Readable, ndim: int) -> Job[dict[Place, list[Window]]]:
    """Find the windows that contain all annotation, in each plane or volume, reading it piece by piece.

    `paint` (…, [Z,] Y, X) is 0 where not annotated; axes before the last `ndim` are processed one index at a time.
    """
    found: dict[Place, list[Window]] = {}
    pieces = list(pieces_of(paint.shape))
    for done, piece in enumerate(pieces):
        yield Progress(done, len(pieces), "Looking for paint")
        for place, window in painted_blocks(np.asarray(paint[piece]), ndim):
            whole = shifted((*(slice(index, index + 1) for index in place), *window), piece)
            found.setdefault(tuple(part.start for part in whole[:-ndim]), []).append(whole[-ndim:])
    return {place: joined(windows) for place, windows in sorted(found.items())}


def pieces_of(shape: Sequence[int]) -> Iterator[Window]:
    """Cut an array into pieces for reading."""
    sides = (*(PLANES_AT_ONCE for _ in shape[:-2]), READ_PX, READ_PX)
    return cells(tuple(slice(0, length) for length in shape), sides)


def painted_blocks(paint: np.ndarray, ndim: int) -> Iterator[tuple[Place, Window]]:
    """Yield the smallest window around the annotation of each block of a piece, with its plane or volume."""
    if not paint.any():
        return
    sides = (*(1 for _ in paint.shape[:-ndim]), *(BLOCK_PX for _ in range(ndim)))
    for block in cells(tuple(slice(0, length) for length in paint.shape), sides):
        window = smallest_window(paint[block])
        if window is not None:
            whole = shifted(window, block)
            yield tuple(part.start for part in whole[:-ndim]), whole[-ndim:]


def smallest_window(paint: np.ndarray) -> Window | None:
    """Return the smallest window that contains all annotation; None without annotation.

    Examples
    --------
    >>> smallest_window(np.array([[0, 0, 0], [0, 0, 3], [0, 1, 0]]))
    (slice(1, 3, None), slice(1, 3, None))
    """
    found = scipy.ndimage.find_objects((paint != 0).view(np.uint8))
    return found[0] if found else None


def joined(windows: Sequence[Window], gap_px: int = BLOCK_PX) -> list[Window]:
    """Join windows that are nearer than `gap_px`, in order of their first corners.

    The result does not depend on how the annotation was cut into blocks of up to `gap_px`.
    """
    boxes = np.array([[(part.start, part.stop) for part in window] for window in windows])  # (windows, ndim, 2)
    while len(fewer := _joined_once(boxes, gap_px)) < len(boxes):
        boxes = fewer
    return sorted((tuple(slice(*map(int, ends)) for ends in box) for box in boxes), key=_corner)


def _joined_once(boxes: np.ndarray, gap_px: int) -> np.ndarray:
    apart: list[np.ndarray] = []
    while len(boxes):
        box, boxes = boxes[0], boxes[1:]
        while (near := _is_near(box, boxes, gap_px)).any():
            together = np.concatenate([box[None], boxes[near]])
            box = np.stack([together[..., 0].min(0), together[..., 1].max(0)], axis=1)
            boxes = boxes[~near]
        apart.append(box)
    return np.stack(apart)


def _is_near(box: np.ndarray, others: np.ndarray, gap_px: int) -> np.ndarray:
    between = np.maximum(others[..., 0] - box[:, 1], box[:, 0] - others[..., 1])
    return (between < gap_px).all(axis=-1)


def _corner(window: Window) -> Place:
    return tuple(part.start for part in window)


def cells(window: Window, sides: Sequence[int]) -> Iterator[Window]:
    """Cut a window into cells of these sides, from its first corner on."""
    cuts = [
        [slice(start, min(start + side, part.stop)) for start in range(part.start, part.stop, side)]
        for part, side in zip(window, sides, strict=True)
    ]
    return itertools.product(*cuts)


def grown(window: Window, margins: Sequence[int]) -> Window:
    """Widen a window by this many pixels on each side, also beyond the image."""
    return tuple(slice(part.start - margin, part.stop + margin) for part, margin in zip(window, margins, strict=True))


def clipped(window: Window, shape: Sequence[int]) -> Window:
    """Clip a window to an image; a window outside the image becomes empty."""
    return tuple(
        slice(min(max(part.start, 0), length), max(min(part.stop, length), 0))
        for part, length in zip(window, shape, strict=True)
    )


def shifted(window: Window, by: Window) -> Window:
    """Convert a window of a part to coordinates of the whole.

    Examples
    --------
    >>> shifted((slice(1, 3),), (slice(10, 20),))
    (slice(11, 13, None),)
    """
    return tuple(
        slice(part.start + outer.start, part.stop + outer.start) for part, outer in zip(window, by, strict=True)
    )


def inside(window: Window, outer: Window) -> Window:
    """Convert a window of the whole to coordinates of `outer`."""
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(window, outer, strict=True)
    )


def read_window(
    image: Readable, place: Place, window: Window, beyond: Literal["reflect", "constant"] = "reflect"
) -> np.ndarray:
    """Read a window of a plane or volume, mirrored beyond the image ("reflect") or 0 there ("constant").

    `image` (…, [Z,] Y, X) may have channels last.
    """
    shape = image.shape[len(place) : len(place) + len(window)]
    seen = clipped(window, shape)
    part = np.asarray(image[(*place, *seen)])
    missing = [(each.start - all_.start, all_.stop - each.stop) for each, all_ in zip(seen, window, strict=True)]
    if not any(map(any, missing)):
        return np.ascontiguousarray(part)
    return np.pad(part, [*missing, *((0, 0) for _ in range(part.ndim - len(window)))], mode=beyond)
