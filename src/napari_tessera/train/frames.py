"""Read images and labels, and cut them into what is learnt from one at a time: planes or volumes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from napari_tessera.errors import FileError, InputError
from napari_tessera.io.picture import Picture
from napari_tessera.io.read import load, read_image, read_labels
from napari_tessera.jobs import Job, Progress
from napari_tessera.nn.intensity import Kind
from napari_tessera.train.sources import TRAIN, VALIDATION, Source

CHANNEL = "C"


@dataclass(frozen=True)
class Frame:
    """One plane or volume and its labels.

    Attributes
    ----------
    name : str
    image : array ([Z,] Y, X) or ([Z,] Y, X, C)
    labels : integer array ([Z,] Y, X)
        As in the file.
    split, group : str
        See `Source`.
    anisotropy : float
        Distance of planes over that of pixels; 1 in 2-D.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    split: str
    group: str = ""
    anisotropy: float = 1.0

    @property
    def channels(self) -> int:
        """How many channels the image has; 0 where it is grey."""
        return self.image.shape[-1] if self.image.ndim > self.labels.ndim else 0

    @property
    def dtype(self) -> np.dtype:
        """Type of the image's values."""
        return self.image.dtype


class WithChannels(Protocol):
    """An image of which it is known how many channels it has."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def channels(self) -> int:
        """How many channels it has; 0 where it is grey."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of its values."""
        ...


def read_frames(sources: Sequence[Source], ndim: int, share: float) -> Job[list[Frame]]:
    """Read every file into memory; of a single stack, hold back the last `share` of its planes.

    Raises
    ------
    FileError, InputError
        If a file cannot be read, or an image does not fit its labels.
    """
    frames: list[Frame] = []
    for done, source in enumerate(sources):
        yield Progress(done, len(sources), f"Reading {source.name}")
        image, labels = load(read_image(source.image, axes=source.axes)), load(read_labels(source.labels))
        frames += frames_of(source, image, labels, ndim)
    if len(sources) == 1 and share > 0 and len(frames) > 1:
        first = len(frames) - max(1, round(share * len(frames)))
        frames = [replace(frame, split=TRAIN if at < first else VALIDATION) for at, frame in enumerate(frames)]
    return frames


def frames_of(source: Source, image: Picture, labels: Picture, ndim: int) -> list[Frame]:
    """Cut one image into planes (all axes but Y, X and channels taken one at a time) or volumes."""
    space, plain = "ZYX"[-ndim:], image.axes.replace(CHANNEL, "")
    if any(axis not in plain for axis in space):
        raise FileError(f"{source.image} has the axes {image.axes}, but with ndim 3 an image needs Z, Y and X.")
    check_shapes(source, image, labels)
    loops = "".join(axis for axis in plain if axis not in space)
    channel = CHANNEL if CHANNEL in image.axes else ""
    pixels = np.transpose(image.data, [image.axes.index(axis) for axis in loops + space + channel])
    truth = np.transpose(labels.data, [plain.index(axis) for axis in loops + space])
    size = dict(zip(image.spatial.axes, image.spatial.scale, strict=True))
    anisotropy = abs(size["Z"] / size["X"]) if ndim == 3 else 1.0
    return [
        Frame(
            source.name + "".join(f" {axis}{at}" for axis, at in zip(loops, place, strict=True)),
            np.ascontiguousarray(pixels[place]),
            np.ascontiguousarray(truth[place]),
            source.split,
            source.group,
            anisotropy,
        )
        for place in itertools.product(*(range(size) for size in truth.shape[: len(loops)]))
    ]


def check_shapes(source: Source, image: Picture, labels: Picture) -> None:
    """Refuse labels that are not of their image's shape.

    Raises
    ------
    InputError
    """
    shape = tuple(size for size, axis in zip(image.data.shape, image.axes, strict=True) if axis != CHANNEL)
    if tuple(labels.data.shape) != shape:
        raise InputError(
            f"{source.labels} has shape {tuple(labels.data.shape)}, but {source.image} has {shape} (axes "
            f"{image.axes.replace(CHANNEL, '')}). Labels must have the shape of their image."
            f"{hint_at_axes(image.data.shape, labels.data.shape)}"
        )


def hint_at_axes(shape: Sequence[int], labels_shape: Sequence[int]) -> str:
    """Say how the axes of an image are given, where with one axis of channels it would fit its labels.

    Examples
    --------
    >>> hint_at_axes((2, 64, 80), (64, 80))
    ' If the axis of 2 pixels holds channels, say so: axes="CYX" (on the command line --axes CYX).'
    >>> hint_at_axes((256, 320), (512, 512))
    ''
    """
    plain = "TZYX"[-len(labels_shape) :]
    for at in reversed(range(len(shape))):
        if (*shape[:at], *shape[at + 1 :]) == tuple(labels_shape) and len(plain) == len(labels_shape):
            axes = plain[:at] + CHANNEL + plain[at:]
            said = f'axes="{axes}" (on the command line --axes {axes})'
            return f" If the axis of {shape[at]} pixels holds channels, say so: {said}."
    return ""


def kind_of_images(frames: Sequence[WithChannels]) -> tuple[Kind, int]:
    """Say whether the images are grey and RGB ("colours"), or have channels of another sort, and how many.

    Raises
    ------
    InputError
        If the images do not go together.
    """
    counts = {frame.channels for frame in frames}
    is_rgb = all(frame.dtype == np.uint8 for frame in frames if frame.channels)
    if counts <= {0, 3} and is_rgb:
        return "colours", 3
    if len(counts) > 1:
        said = ", ".join(f"{frame.name} has {frame.channels or 'none'}" for frame in frames[:3])
        raise InputError(f"All images must have the same number of channels, but {said}. Train on one kind of image.")
    return "channels", counts.pop()
