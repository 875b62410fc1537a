"""Prepare annotated images, as arrays or files, for reading in windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.checks import check_stored, whole_numbers
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, in_background, pieces
from napari_tessera.core.spatial import check_axes
from napari_tessera.inference.normalization import (
    PERCENTS,
    Kind,
    Levels,
    levels_between,
    levels_of_channels,
    measure_levels,
)
from napari_tessera.io.read import stem
from napari_tessera.methods._network_blocks import counted, percentiles, rounds
from napari_tessera.training.annotations.annotation import AnnotatedImage, Place
from napari_tessera.training.data.sources import VALIDATION, Source, hint_at_axes, read_pair

CHANNEL, PLANES = "C", "Z"
LARGEST_AT_ONCE_PX = 2**26
"""Larger or stored images are measured piece by piece."""
PIECE_PX = 2**22
DEFAULT_AXES = {2: "YX", 3: "ZYX", 4: "TZYX"}


@dataclass(frozen=True)
class Image:
    """An image with its axes in the order in which it is segmented: those taken one at a time, [Z,] Y, X, channels."""

    data: Any
    axes: str  # one letter for each axis; channels, if there are any, are last
    measured: dict[tuple[Place, Kind], Levels] = field(default_factory=dict)  # levels that are known already

    def measure(self, place: Place, kind: Kind) -> Job[Levels]:
        """Measure the brightness of what would be segmented together with a plane or volume: all planes of its stack.

        `place` is an index for each of the first axes.
        """
        outer = zip(self.axes, place, strict=False)
        whole = tuple(slice(None) if axis == PLANES else slice(index, index + 1) for axis, index in outer)
        key = (tuple(part.start or 0 for part in whole), kind)
        if key not in self.measured:
            self.measured[key] = yield from levels_of(self.data, whole, kind)
        return self.measured[key]


def levels_of(image: Any, whole: tuple[slice, ...], kind: Kind) -> Job[Levels]:
    """Measure the levels of a part of an image, at once or piece by piece."""
    shape = tuple(len(range(*part.indices(side))) for part, side in zip(whole, image.shape, strict=False))
    shape = (*shape, *image.shape[len(whole) :])
    if isinstance(image, np.ndarray) and prod(shape) <= LARGEST_AT_ONCE_PX:
        return (yield from in_background(partial(measure_levels, image[whole], kind), "Measuring brightness"))
    cut = shape[:-1] if kind == "channels" else shape
    corner = tuple(part.start or 0 for part in whole) + (0,) * (len(cut) - len(whole))
    windows = [
        tuple(slice(part.start + start, part.stop + start) for part, start in zip(piece, corner, strict=True))
        for piece in pieces(cut, PIECE_PX)
    ]
    return (yield from levels_in_pieces(image, windows, kind))


def levels_in_pieces(image: Any, windows: Sequence[tuple[slice, ...]], kind: Kind) -> Job[Levels]:
    """Measure the levels of an image window by window."""
    measures: list[Any] | None = None
    for turn in range(count := rounds(image)):
        earlier, measures = measures, None
        for done, window in enumerate(windows):
            yield Progress(turn + done / len(windows), count, "Measuring brightness")
            values = np.ascontiguousarray(image[window])
            parts = np.moveaxis(values, -1, 0) if kind == "channels" else values[None]
            here = [
                counted(np.ascontiguousarray(part), earlier[index] if earlier else None)
                for index, part in enumerate(parts)
            ]
            measures = here if measures is None else [one + other for one, other in zip(measures, here, strict=True)]
    found = [percentiles(each, PERCENTS) for each in measures or ()]
    return levels_between(found[0]) if kind == "colours" else levels_of_channels(found)


def painting_of(
    name: str,
    image: Any,
    paint: Any,
    ndim: int,
    *,
    axes: str | None = None,
    anisotropy: float = 1.0,
    is_check: bool = False,
) -> AnnotatedImage:
    """Pair an image with its annotation, both arrays or what is read like them.

    Parameters
    ----------
    axes : str, optional
        One letter for each axis of the image, with C for channels. The default is YX, ZYX or TZYX, by the annotation,
        with channels last, if any.
    anisotropy : float
        Distance of planes divided by the pixel size.
    is_check : bool
        The annotation is for validation.

    Raises
    ------
    InputError
        If image, annotation and axes do not match, or one of the arrays is not numeric.
    """
    check_pair(name, image, paint)
    paint = whole_numbers(paint, f"{name}: the annotation")
    letters = checked_letters(name, image, paint, ndim, axes)
    plain = letters.replace(CHANNEL, "")
    space = "ZYX"[-ndim:]
    if np.dtype(image.dtype) == bool:
        image = image.astype(np.uint8)
    order = "".join(axis for axis in plain if axis not in space) + space
    shown = Image(_arranged(image, letters, order + CHANNEL * (CHANNEL in letters)), order)
    scale = anisotropy if ndim == 3 else 1.0
    painted = _arranged(paint, plain, order)
    return AnnotatedImage(name, shown.data, painted, np.dtype(image.dtype), shown.measure, scale, is_check)


def check_pair(name: str, image: Any, paint: Any) -> None:
    """Refuse what is not an array."""
    for what, given in (("image", image), ("annotation", paint)):
        if not is_array(given):
            said = f"of the type {type(given).__name__}, but an array is needed"
            raise InputError(f"{name}: the {what} is {said} (NumPy, dask or zarr), or the path of a file.")
        check_stored(given, f"{name}: the {what}")


def is_array(given: Any) -> bool:
    """Return whether something has a shape, and a dtype that NumPy knows."""
    try:
        np.dtype(given.dtype)
    except (AttributeError, TypeError):
        return False
    return hasattr(given, "shape")


def checked_letters(name: str, image: Any, paint: Any, ndim: int, axes: str | None) -> str:
    """Return one letter for each axis of an image, as given or from the annotation; refuse shapes that do not match."""
    if axes is None and len(paint.shape) not in DEFAULT_AXES:
        raise InputError(
            f"{name}: the annotation has {len(paint.shape)} axes (shape {tuple(paint.shape)}). Name the axes of the "
            'image, such as axes="PTZYX", with C for channels.'
        )
    usual = DEFAULT_AXES.get(len(paint.shape), "") + CHANNEL * (len(image.shape) - len(paint.shape))
    letters = check_axes(axes, image.shape, image.dtype).axes if axes is not None else usual
    shape = tuple(side for side, axis in zip(image.shape, letters, strict=False) if axis != CHANNEL)
    if len(letters) != len(image.shape) or shape != tuple(paint.shape):
        otherwise = " Paint on this image, or give the annotation that belongs to it."
        raise InputError(
            f"{name}: the annotation has shape {tuple(paint.shape)}, but the image {tuple(image.shape)} (axes "
            f"{letters}). It must have the shape of its image, without channels."
            f"{hint_at_axes(image.shape, paint.shape) or otherwise}"
        )
    space = "ZYX"[-ndim:]
    if missing := [axis for axis in space if axis not in letters]:
        raise InputError(
            f"{name}: the image has the axes {letters}, but with ndim {ndim} it needs {', '.join(space)}, and has no "
            f'{missing[0]}. Name the axes, such as axes="{space}" (on the command line --axes {space}), or '
            "train on planes, with ndim 2."
        )
    return letters


def _arranged(array: Any, axes: str, wanted: str) -> Any:
    """Reorder the axes, unless they are in order: a stored array would be read as a whole."""
    order = [axes.index(axis) for axis in wanted]
    return array if order == sorted(order) else np.transpose(array, order)


def painting_from(source: Source, ndim: int) -> AnnotatedImage:
    """Open the files of an image and its annotation, and read no more of them than needed.

    A FileError or InputError says that a file cannot be opened, or the two do not match.
    """
    image, paint = read_pair(source)
    size = dict(zip(image.spatial.axes, image.spatial.scale, strict=True))
    anisotropy = abs(size.get("Z", 1.0) / size["X"])
    return painting_of(
        source.name,
        image.data,
        paint.data,
        ndim,
        axes=image.axes,
        anisotropy=anisotropy,
        is_check=source.split == VALIDATION,
    )


def paintings_from(sources: Sequence[Source], ndim: int) -> Job[list[AnnotatedImage]]:
    """Open all files; see `painting_from`."""
    found = []
    for done, source in enumerate(sources):
        yield Progress(done, len(sources), f"Opening {source.name}")
        found.append(painting_from(source, ndim))
    return found


def named(image: Any, index: int) -> str:
    """Return the name of an image in messages: its file's name, or its number."""
    return stem(Path(image)) if isinstance(image, str | Path) else f"image {index + 1}"
