"""How a network sees an image block by block: how far around a block, from which pixel on, how much at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, prod

from napari_tessera.large.tiles import Tile

LARGEST_PART_PX = {2: 6e6, 3: 16e6}
"""Pixels of the network, in planes or volumes, that a block is predicted and decoded in at a time."""
PLANES_BEYOND = 3
"""How many planes beyond its block are linked, where a volume is segmented plane by plane."""
SLACK_STEPS = 3
"""How many steps of the network a margin may be wider, so that it begins where the network's pooling begins anew."""


@dataclass(frozen=True)
class Sight:
    """How a network sees the blocks of an image.

    Attributes
    ----------
    shape : tuple of int
        Of the whole image, without channels.
    factors : tuple of float
        Network pixels per image pixel along each axis, of the whole image's grid.
    beyond_px : float
        How far the network must see beyond a block, in its own pixels.
    step : int
        Pixels of the network that its coarsest level pools into one.
    is_plane_by_plane : bool
        Whether the planes of a volume are seen one by one.
    """

    shape: tuple[int, ...]
    factors: tuple[float, ...]
    beyond_px: float
    step: int
    is_plane_by_plane: bool = False

    @property
    def axes(self) -> range:
        """Axes that the network sees."""
        return range(self.is_plane_by_plane, len(self.shape))

    @property
    def margins(self) -> tuple[int, ...]:
        """How far to look around a block, in pixels of the image along each axis."""
        margins = tuple(ceil(self.beyond_px / factor) for factor in self.factors)
        return (PLANES_BEYOND, *margins[1:]) if self.is_plane_by_plane else margins

    def parts(self, block: Sequence[int]) -> tuple[int, ...]:
        """Halve a block along its longest side until a part is small enough, or hardly larger than its margins."""
        parts = [1] * len(block)

        def seen_px(axis: int) -> float:
            return (block[axis] / parts[axis] + 2 * self.margins[axis]) * self.factors[axis]

        while prod(map(seen_px, self.axes)) > LARGEST_PART_PX[len(self.axes)]:
            longest = max(self.axes, key=lambda axis: block[axis] / parts[axis] * self.factors[axis])
            if block[longest] <= 2 * parts[longest] * self.margins[longest]:
                break
            parts[longest] *= 2
        return tuple(parts)

    def aligned(self, tile: Tile) -> Tile:
        """Widen what a tile reads, so that the network's pixels lie where they would in the whole image.

        A tile is best begun where a pixel of the network's coarsest level begins, and ended where one of its finest
        level ends. As pixels of the image, these positions are not always whole numbers; the nearest are taken.
        """
        read = list(tile.read)
        for axis in self.axes:
            side, part = self.shape[axis], tile.read[axis]
            factor = self.factors[axis]
            slack = ceil(SLACK_STEPS * self.step / factor)
            starts = range(part.start, max(0, part.start - slack) - 1, -1)
            start = min(starts, key=partial(_off, factor=factor, step=self.step, origin=0))
            stops = range(part.stop, min(side, part.stop + slack) + 1)
            stop = side if part.stop == side else min(stops, key=partial(_off, factor=factor, step=1, origin=start))
            read[axis] = slice(start, stop)
        return replace(tile, read=tuple(read))


def _off(at: int, factor: float, step: int, origin: int) -> float:
    """How far a pixel of the image lies off a multiple of `step` of the network's, to a hundredth of one."""
    position = (at - origin) * factor
    return round(abs(position - step * round(position / step)), 2)
