"""The grid on which a network sees an image: how many of its pixels, how large, and where they begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, prod

import numpy as np

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Grid:
    """A network's grid over an image, or over a part of one.

    Attributes
    ----------
    shape : tuple of int
        Of the image or the part, without channels.
    size : tuple of int
        Pixels of the network along each axis.
    scale : tuple of float
        Pixels of the image for each pixel of the network along each axis.
    origin : tuple of float
        Where the grid begins, in pixels of the image from the edge of its first one.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    scale: tuple[float, ...]
    origin: tuple[float, ...]

    @classmethod
    def over(cls, shape: Sequence[int], size: Sequence[int]) -> Grid:
        """Lay `size` pixels of a network over a whole image of `shape`."""
        scale = tuple(side / pixels for side, pixels in zip(shape, size, strict=True))
        return cls(tuple(shape), tuple(size), scale, (0.0,) * len(scale))

    @property
    def share(self) -> float:
        """Pixels of the network for each pixel of the image."""
        return 1 / prod(self.scale)

    @property
    def is_image(self) -> bool:
        """Whether the pixels of the network are those of the image."""
        return self.shape == self.size and not any(self.origin)

    def image_places(self, axis: int) -> np.ndarray:
        """Say where the network's pixels lie along an axis: in pixels of the image, 0 the middle of its first one."""
        return self.origin[axis] + (np.arange(self.size[axis]) + 0.5) * self.scale[axis] - 0.5

    def own_places(self, axis: int) -> np.ndarray:
        """Say where the image's pixels lie along an axis: in pixels of the network, 0 the middle of its first one."""
        return (np.arange(self.shape[axis]) + 0.5 - self.origin[axis]) / self.scale[axis] - 0.5

    def across(self, axis: int) -> Grid:
        """Return the grid of one plane of a volume, across `axis`."""
        return Grid(*(each[:axis] + each[axis + 1 :] for each in vars(self).values()))

    def cut(self, window: Slices, steps: Sequence[int]) -> tuple[Slices, Grid]:
        """Cut out a part whose pixels of the network are the very ones of the whole.

        Parameters
        ----------
        window : tuple of slice
            Of the image.
        steps : sequence of int
            Along each axis, the part begins at a multiple of so many of the network's pixels, where its pooling begins
            anew.

        Returns
        -------
        read : tuple of slice
            What is to be read of the image, `window` or more.
        grid : Grid
            Over what is read.
        """
        along = [self._cut_along(axis, part, step) for axis, (part, step) in enumerate(zip(window, steps, strict=True))]
        read = tuple(slice(low, high) for low, high, _, _ in along)
        origin = tuple(
            begin + first * scale - low
            for (low, _, first, _), scale, begin in zip(along, self.scale, self.origin, strict=True)
        )
        shape, size = zip(*((high - low, stop - first) for low, high, first, stop in along), strict=True)
        return read, Grid(shape, size, self.scale, origin)

    def _cut_along(self, axis: int, part: slice, step: int) -> tuple[int, int, int, int]:
        """Return from where to where to read the image, and the grid."""
        side, size, scale, origin = (values[axis] for values in (self.shape, self.size, self.scale, self.origin))
        first = max(0, floor((part.start - origin) / scale / step) * step)
        stop = min(size, max(first + 1, ceil((part.stop - origin) / scale)))
        reach = max(1.0, scale)  # a pixel of the network is made of what lies less far from its middle
        low = floor(origin + (first + 0.5) * scale - 0.5 - reach) + 1 if first else 0
        high = ceil(origin + (stop - 0.5) * scale - 0.5 + reach) if stop < size else side
        return max(0, min(low, part.start)), min(side, max(high, part.stop)), first, stop
