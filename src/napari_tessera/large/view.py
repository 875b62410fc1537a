"""An image as a network is to see it: which part, how bright, how far apart its pixels are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_tessera.large.tiles import Slices
from napari_tessera.nn.intensity import Levels, network_channels
from napari_tessera.overlapping import Stored


@dataclass(frozen=True)
class View:
    """An image, or a part of one, that a network can look at.

    Attributes
    ----------
    image : array, or what is read like one
        (Y, X) or (Z, Y, X), with channels last if `has_channels`.
    levels : Levels
        Of the whole image, of which this may be a part.
    has_channels : bool
        Whether the last axis holds channels.
    spacing : tuple of float
        Size of a pixel along each axis; only ratios matter.
    """

    image: np.ndarray | Stored
    levels: Levels
    has_channels: bool
    spacing: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes in space."""
        return self.image.shape[:-1] if self.has_channels else self.image.shape

    @property
    def ndim(self) -> int:
        """2 for a plane, 3 for a volume."""
        return len(self.shape)

    def read(self, window: Slices) -> np.ndarray:
        """Return the network's channels of a window, float32 (C, [Z,] Y, X)."""
        return network_channels(self.image[window], self.levels, is_coloured=self.has_channels)

    def cut(self, window: Slices) -> View:
        """Return a part of the image, with the levels of the whole."""
        return replace(self, image=self.image[window])

    def plane(self, axis: int, index: int) -> View:
        """Return one plane of a volume, across `axis`."""
        spacing = tuple(size for other, size in enumerate(self.spacing) if other != axis)
        return replace(self, image=self.image[(slice(None),) * axis + (index,)], spacing=spacing)

    def factors(self, factor: float, along_x: float | None = None) -> tuple[float, ...]:
        """Return the network pixels per image pixel along each axis, so that they are as far apart along all.

        Parameters
        ----------
        factor : float
            Along X.
        along_x : float, optional
            Size of a pixel along X, where X is not the last axis.
        """
        return tuple(factor * size / (along_x or self.spacing[-1]) for size in self.spacing)
