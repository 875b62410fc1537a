"""How a network sees an image block by block: how far around a block, from which pixel on, how much at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from napari_tessera.kernels.grid import Grid
from napari_tessera.large.tiles import Tile, widened

LARGEST_PART_PX = {2: 6e6, 3: 16e6}
"""Pixels of the network, in planes or volumes, that a block is predicted and decoded in at a time."""
PLANES_BEYOND = 3
"""How many planes beyond its block are linked, where a volume is segmented plane by plane."""


@dataclass(frozen=True)
class Sight:
    """How a network sees the blocks of an image.

    Attributes
    ----------
    grid : Grid
        The network's pixels over the whole image.
    beyond_px : float
        How far the network must see beyond a block, in its own pixels.
    step : int
        Pixels of the network that its coarsest level pools into one.
    is_plane_by_plane : bool
        Whether the planes of a volume are seen one by one.
    """

    grid: Grid
    beyond_px: float
    step: int
    is_plane_by_plane: bool = False

    @property
    def axes(self) -> range:
        """Axes that the network sees."""
        return range(self.is_plane_by_plane, len(self.grid.shape))

    @property
    def margins(self) -> tuple[int, ...]:
        """How far to look around a block, in pixels of the image along each axis."""
        margins = tuple(ceil(self.beyond_px * scale) for scale in self.grid.scale)
        return (PLANES_BEYOND, *margins[1:]) if self.is_plane_by_plane else margins

    def parts(self, block: Sequence[int]) -> tuple[int, ...]:
        """Halve a block along its longest side until a part is small enough, or hardly larger than its margins."""
        parts = [1] * len(block)

        def seen_px(axis: int) -> float:
            return (block[axis] / parts[axis] + 2 * self.margins[axis]) / self.grid.scale[axis]

        while prod(map(seen_px, self.axes)) > LARGEST_PART_PX[len(self.axes)]:
            longest = max(self.axes, key=lambda axis: block[axis] / parts[axis] / self.grid.scale[axis])
            if block[longest] <= 2 * parts[longest] * self.margins[longest]:
                break
            parts[longest] *= 2
        return tuple(parts)

    def aligned(self, tile: Tile) -> Tile:
        """Widen what a tile reads, so that the network's pixels can be those of the whole image."""
        window = widened(tile.write, self.margins, self.grid.shape)
        read, _ = self.grid.cut(window, self._steps)
        return replace(tile, read=read)

    def over(self, tile: Tile) -> Grid:
        """Return the network's pixels over what a tile reads."""
        _, grid = self.grid.cut(widened(tile.write, self.margins, self.grid.shape), self._steps)
        return grid

    @property
    def _steps(self) -> tuple[int, ...]:
        return (1,) * self.axes.start + (self.step,) * len(self.axes)
