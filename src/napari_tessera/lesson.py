"""Images and the paint on them as somebody holds them who goes on painting, and how to learn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.errors import InputError
from napari_tessera.jobs import Job, Progress
from napari_tessera.sparse import SparseArray

if TYPE_CHECKING:
    from napari_tessera.train.painting import Painting
    from napari_tessera.train.settings import Training

# What computes is imported where it is used, in a thread: a widget opens without waiting for it.

COPIED_BYTES_AT_ONCE = 8_000_000
PAINT_PX_AT_ONCE = 2**22
OBJECTS = "objects"


@dataclass(frozen=True)
class Given:
    """An image and the paint on it, as somebody holds them.

    Attributes
    ----------
    name : str
    image, paint : array, or what is read like one
        Paint that goes on being painted is to be copied first: see `holding_still`.
    axes : str
        One letter for each axis of the image, with C for channels.
    anisotropy : float
        Distance of planes over that of pixels.
    """

    name: str
    image: Any
    paint: Any
    axes: str
    anisotropy: float = 1.0


@dataclass(frozen=True)
class Lesson:
    """What is to be learnt, and how.

    Attributes
    ----------
    given : sequence of Given
    out : Path
        The model file to write.
    settings : mapping
        See `train.settings.Training`.
    names : sequence of str
        Names of the classes, background first; those beyond the highest number painted are left out.
    goes_on : bool
        Go on where an earlier training of this name ended; otherwise begin anew.
    """

    given: Sequence[Given]
    out: Path
    settings: Mapping[str, Any]
    names: Sequence[str] = ()
    goes_on: bool = False


def holding_still(lesson: Lesson) -> Job[Lesson]:
    """Copy the paint, so that it can be painted on while the lesson is learnt."""
    still = []
    for each in lesson.given:
        still.append(replace(each, paint=(yield from held_still(each.paint))))
    return replace(lesson, given=tuple(still))


def paintings_of(given: Sequence[Given], ndim: int) -> Job[tuple[list[Painting], int]]:
    """Pair images with their paint, and return the highest number painted, too.

    Raises
    ------
    InputError
        If an image and its paint do not fit each other.
    """
    from napari_tessera.painted_images import painting_of

    paintings, highest = [], 0
    for each in given:
        painting = painting_of(each.name, each.image, each.paint, ndim, axes=each.axes, anisotropy=each.anisotropy)
        paintings.append(painting)
        highest = max(highest, (yield from highest_of(painting.paint)))
    return paintings, highest


def held_still(array: Any) -> Job[Any]:
    """Copy an array in memory in small steps; one that is stored is read around its paint, when that is read."""
    if isinstance(array, SparseArray):
        return (yield from _sparse_copy(array))
    if not isinstance(array, np.ndarray) or not array.size:
        return array
    copy = np.empty_like(array)
    rows = max(1, len(array) * COPIED_BYTES_AT_ONCE // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield Progress(start, len(array), "Copying the paint")
        copy[start : start + rows] = array[start : start + rows]
    return copy


def _sparse_copy(array: SparseArray) -> Job[SparseArray]:
    still, windows = SparseArray(array.shape, array.dtype), array.written()
    for done, window in enumerate(windows):
        yield Progress(done, len(windows), "Copying the paint")
        still[window] = array[window]
    return still


def highest_of(paint: Any) -> Job[int]:
    """Return the highest number in paint, read piece by piece."""
    from napari_tessera.bands import pieces

    is_sparse = isinstance(paint, SparseArray)
    highest = 0
    for piece in paint.written() if is_sparse else pieces(tuple(paint.shape), PAINT_PX_AT_ONCE):
        yield Progress(0, 1, "Looking for paint")
        highest = max(highest, int(np.asarray(paint[piece]).max(initial=0)))
    return highest


def check_named(settings: Training, names: Sequence[str], highest: int) -> None:
    """Refuse paint of more classes than there are names, if there are any: most often it is paint of objects.

    Raises
    ------
    InputError
    """
    if settings.task != OBJECTS and names and highest > len(names):
        raise InputError(
            f"The paint goes up to the number {highest}, but there are {len(names)} classes, background included. If "
            'each number is an object, choose the task "Objects"; if it is a class, add it to the classes, or paint '
            "with the numbers that are listed."
        )


def named(settings: Training, names: Sequence[str], highest: int) -> Training:
    """Name the classes; for objects there are two names, whatever their number."""
    count = 2 if settings.task == OBJECTS else highest
    chosen = list(names[:count])
    return replace(settings, classes=",".join(chosen)) if chosen and len(chosen) == count else settings
