"""An image as a network is to see it: which part, how bright, how far apart its pixels are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_tessera.kernels.grid import Grid, Slices
from napari_tessera.large.rescale import network_grid
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
    grid : Grid or None
        The network's pixels, where they are given: those of the whole image, of which this is a part.
    """

    image: np.ndarray | Stored
    levels: Levels
    has_channels: bool
    spacing: tuple[float, ...]
    grid: Grid | None = None

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
        return replace(self, image=self.image[window], grid=None)

    def laid(self, factor: float) -> Grid:
        """Return the network's grid: the one that is given, or one of `factor` network pixels per image pixel along X.

        Pixels of the network are as far apart along all axes.
        """
        return self.grid or network_grid(self.shape, self.factors(factor))

    def plane(self, axis: int, index: int) -> View:
        """Return one plane of a volume, across `axis`."""
        spacing = tuple(size for other, size in enumerate(self.spacing) if other != axis)
        grid = self.grid and self.grid.across(axis)
        return replace(self, image=self.image[(slice(None),) * axis + (index,)], spacing=spacing, grid=grid)

    def factors(self, factor: float) -> tuple[float, ...]:
        """Return the network pixels per image pixel along each axis, so that they are as far apart along all.

        Parameters
        ----------
        factor : float
            Along X, the last axis.
        """
        return tuple(factor * size / self.spacing[-1] for size in self.spacing)
