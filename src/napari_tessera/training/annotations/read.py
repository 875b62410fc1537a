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
from napari_tessera.core.spatial import CHANNEL, check_axes
from napari_tessera.core.valid_area import Fill, find_fill
from napari_tessera.inference.normalization import (
    Kind,
    Levels,
    levels_between,
    levels_of_channels,
    measure_levels,
)
from napari_tessera.io.read import stem
from napari_tessera.methods._network_blocks import counted, rounds, values_of
from napari_tessera.training.annotations.annotation import AnnotatedImage, Place
from napari_tessera.training.data.sources import VALIDATION, Source, hint_at_axes, notes_on, read_pair

PLANES = "Z"
LARGEST_AT_ONCE_PX = 2**26
"""Larger or stored images are measured piece by piece."""
PIECE_PX = 2**22
DEFAULT_AXES = {2: "YX", 3: "ZYX", 4: "TZYX"}


@dataclass(frozen=True)
class Image:
    """An image with its axes in the order in which it is segmented: those taken one at a time, [Z,] Y, X, channels."""

    data: Any
    axes: str  # one letter for each axis except the channels, which are last
    masked: np.ndarray | None = None  # True where a masked array is masked; without channels
    levels: dict[tuple[Place, Kind], Levels] = field(default_factory=dict)  # those that are known already
    fills: dict[Place, Fill | None] = field(default_factory=dict)

    def measure(self, place: Place, kind: Kind) -> Job[Levels]:
        """Measure the brightness of what would be segmented together with a plane or volume: all planes of its stack.

        `place` is an index for each of the first axes. What is no image is left out.
        """
        stack = self._stack(place)
        key = (tuple(part.start or 0 for part in stack), kind)
        if key not in self.levels:
            self.levels[key] = yield from self._levels_of(stack, kind, self.fill(place))
        return self.levels[key]

    def fill(self, place: Place) -> Fill | None:
        """Find what is no image in the stack of a plane or volume."""
        stack = self._stack(place)
        key = tuple(part.start or 0 for part in stack)
        if key not in self.fills:
            index = tuple(slice(None) if part.start is None else part.start for part in stack)
            masked = None if self.masked is None else self.masked[index]
            image = self.data[index] if index else self.data
            axis = image.ndim - 1 if self._has_channels else None
            self.fills[key] = find_fill(image, axis, masked=masked, may_be_transparent=True)
        return self.fills[key]

    @property
    def _has_channels(self) -> bool:
        return len(self.data.shape) > len(self.axes)

    def _stack(self, place: Place) -> tuple[slice, ...]:
        outer = zip(self.axes, place, strict=False)
        return tuple(slice(None) if axis == PLANES else slice(index, index + 1) for axis, index in outer)

    def _image_in(self, window: tuple[slice, ...], fill: Fill | None) -> np.ndarray:
        """Read a part of the image; as a list of pixels if there is something that is no image."""
        values = np.ascontiguousarray(self.data[window])
        masked = None if self.masked is None else self.masked[window[: self.masked.ndim]]
        valid = fill.valid(values, values.ndim - 1 if self._has_channels else None, masked) if fill else None
        return values if valid is None else values[valid]

    def _levels_of(self, stack: tuple[slice, ...], kind: Kind, fill: Fill | None) -> Job[Levels]:
        """Measure the levels of a part of the image, at once or piece by piece."""
        shape = tuple(len(range(*part.indices(side))) for part, side in zip(stack, self.data.shape, strict=False))
        shape = (*shape, *self.data.shape[len(stack) :])
        if isinstance(self.data, np.ndarray) and prod(shape) <= LARGEST_AT_ONCE_PX:
            values = self._image_in(stack, fill)
            return (yield from in_background(partial(measure_levels, values, kind), "Measuring brightness"))
        cut = shape[: len(self.axes)] if self._has_channels else shape
        corner = tuple(part.start or 0 for part in stack) + (0,) * (len(cut) - len(stack))
        windows = [
            tuple(slice(part.start + start, part.stop + start) for part, start in zip(piece, corner, strict=True))
            for piece in pieces(cut, PIECE_PX)
        ]
        return (yield from self.levels_in(windows, kind, fill))

    def levels_in(self, windows: Sequence[tuple[slice, ...]], kind: Kind, fill: Fill | None = None) -> Job[Levels]:
        """Measure the levels of windows one by one."""
        measures: list[Any] | None = None
        for turn in range(count := rounds(self.data)):
            earlier, measures = measures, None
            for done, window in enumerate(windows):
                yield Progress(turn + done / len(windows), count, "Measuring brightness")
                values = self._image_in(window, fill)
                if not values.size:
                    continue
                parts = np.moveaxis(values, -1, 0) if kind == "channels" else values[None]
                here = [
                    counted(np.ascontiguousarray(part), earlier[index] if earlier else None)
                    for index, part in enumerate(parts)
                ]
                measures = here if measures is None else [a + b for a, b in zip(measures, here, strict=True)]
        found = [values_of(each) for each in measures or ()]
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
    notes: tuple[str, ...] = (),
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
    image, masked = _without_mask(image, letters)
    masked = None if masked is None else _arranged(masked, plain, order)
    shown = Image(_arranged(image, letters, order + CHANNEL * (CHANNEL in letters)), order, masked)
    scale = anisotropy if ndim == 3 else 1.0
    painted = _arranged(paint, plain, order)
    dtype = np.dtype(image.dtype)
    return AnnotatedImage(name, shown.data, painted, dtype, shown.measure, scale, is_check, shown.fill, notes, masked)


def _without_mask(image: Any, letters: str) -> tuple[Any, np.ndarray | None]:
    """Split a masked array into its values, and where any channel is masked; other arrays have no mask."""
    if not isinstance(image, np.ma.MaskedArray):
        return image, None
    masked: np.ndarray = np.ma.getmaskarray(image)
    return image.data, np.any(masked, axis=letters.index(CHANNEL)) if CHANNEL in letters else masked


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
    return painting_of(
        source.name,
        image.data,
        paint.data,
        ndim,
        axes=image.axes,
        anisotropy=image.spatial.anisotropy,
        is_check=source.split == VALIDATION,
        notes=notes_on(image, paint),
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
