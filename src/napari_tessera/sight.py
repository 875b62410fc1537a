"""The part of an image in view, and what a network says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.jobs import Job

if TYPE_CHECKING:
    from napari_tessera.nn.intensity import Levels
    from napari_tessera.train.painting import Painting
    from napari_tessera.validation import Where

# What computes is imported where it is used, in a thread: a widget opens without waiting for it.

FIRST_SIDE_PX, SIDE_PX = 256, 512
"""Side of a first look at a network that learns, and of one at a model."""
PLANES_AROUND = 8
"""Of a volume, so many planes above and below the one in view are looked at."""


@dataclass(frozen=True)
class Sight:
    """The part of an image in view.

    Attributes
    ----------
    index : int
        Which image.
    place : tuple of int
        An index along each axis that is not segmented together with the others.
    window : tuple of slice
        Along [z,] y, x.
    """

    index: int
    place: tuple[int, ...]
    window: tuple[slice, ...]


@dataclass(frozen=True)
class Seen:
    """What the network says of a part of an image; `labels` are those of `sight.window`."""

    sight: Sight
    labels: np.ndarray
    step: int = 0


def looking_at(
    model: Path,
    painting: Painting,
    sight: Sight,
    header: Mapping[str, Any],
    diameter_px: float | None = None,
    device: Where = "auto",
) -> Job[Seen]:
    """Let a model say what it sees in the part of an image in view."""
    from napari_tessera.large.view import View
    from napari_tessera.validation import seen_by

    sight = fitted(sight, painting, SIDE_PX)
    levels = yield from levels_for(painting, sight, header)
    view = View(read(painting, sight), levels, painting.channels > 0, spacing_of(painting, sight))
    return Seen(sight, (yield from seen_by(str(model), view, header["task"], diameter_px, device)))


def read(painting: Painting, sight: Sight) -> np.ndarray:
    """Read a part of an image into memory, wherever it is stored."""
    return np.asarray(painting.image[(*sight.place, *sight.window)])


def levels_for(painting: Painting, sight: Sight, header: Mapping[str, Any]) -> Job[Levels]:
    """Measure the brightness of the whole image that a part belongs to."""
    from napari_tessera.nn.intensity import kind_of

    return painting.measure(sight.place, kind_of(header))


def fitted(sight: Sight, painting: Painting, side_px: int) -> Sight:
    """Cut a window to its middle where it is larger than `side_px`, and to the image; of planes, few are taken."""
    shape = tuple(painting.paint.shape)[-len(sight.window) :]
    sides = (2 * PLANES_AROUND + 1, side_px, side_px)[-len(sight.window) :]
    window = []
    for part, length, side in zip(sight.window, shape, sides, strict=True):
        start, stop = max(0, part.start), min(length, part.stop)
        spare = max(0, stop - start - side)
        window.append(slice(start + spare // 2, stop - (spare - spare // 2)))
    return replace(sight, window=tuple(window))


def spacing_of(painting: Painting, sight: Sight) -> tuple[float, ...]:
    """Return the size of a pixel along the axes of the window."""
    return (painting.anisotropy, 1.0, 1.0)[-len(sight.window) :]
