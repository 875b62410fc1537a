"""One frame of an image, and work on it block by block."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_tessera.door import check_image
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.kernels.grid import Slices
from napari_tessera.large.chunked import Pool, read
from napari_tessera.large.memory import give_back
from napari_tessera.large.tiles import Tile, block_of, tiles

Work = Callable[[np.ndarray, Tile], Job[Any]]
"""What is done with a tile's part of the image."""


@dataclass(frozen=True)
class Frame:
    """One frame to be labelled in blocks.

    Attributes
    ----------
    image : dask array
        Spatial axes first, then channels if there are any.
    output : array-like
        Integers of the frame's spatial shape, written in place: NumPy, or zarr for workers elsewhere.
    block : tuple of int
        Pixels of a block along each spatial axis.
    settings : dict
        The method's parameters, with `spacing` and `channel_axis`.
    name : str
        Name of the image for error messages.
    found : int
        Objects found in earlier frames; numbers go on from there.
    """

    image: Any
    output: Any
    block: tuple[int, ...]
    settings: Mapping[str, Any]
    name: str
    found: int = 0

    def having(self, settings: Mapping[str, Any]) -> Frame:
        """Return the same frame with other settings."""
        return replace(self, settings=settings)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return tuple(self.image.shape[: len(self.block)])

    def grid(self, reach: int) -> list[Tile]:
        """Tiles with a halo of `reach` pixels."""
        return list(tiles(self.shape, self.block, (reach,) * len(self.block)))


@dataclass(frozen=True)
class Windows:
    """The pixels of a frame, read window by window and checked as they come in."""

    frame: Frame

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, channels included."""
        return tuple(self.frame.image.shape)

    def __getitem__(self, window: Slices) -> np.ndarray:
        """Read a window."""
        return check_image(read(self.frame.image[window]), self.frame.name)


def over(frame: Frame, grid: Sequence[Tile], work: Work, at: Pool, text: str) -> Job[list[Any]]:
    """Work on every tile's part of the image, and return the outcomes in the order of the tiles.

    The tiles of one block are one task, one after the other: no two tasks ever write to the same chunk of a zarr array.
    """
    name = frame.name
    together = list(by_block(frame, grid))

    def over_tiles(some: list[Tile], *parts: Any) -> Job[list[Any]]:
        outcomes = []
        for done, (tile, part) in enumerate(zip(some, parts, strict=True)):
            yield Progress(done, len(some), text)
            block = check_image(read(part), name)
            outcomes.append((yield from part_of(work(block, tile), done, 1, len(some))))
            del block
            give_back()
        return outcomes

    arguments = [(some, *(frame.image[tile.read] for tile in some)) for some in together]
    outcomes = yield from at.run(over_tiles, arguments, text)
    by_place = {
        tile.place: outcome
        for some, found in zip(together, outcomes, strict=True)
        for tile, outcome in zip(some, found, strict=True)
    }
    return [by_place[tile.place] for tile in grid]


def by_block(frame: Frame, grid: Sequence[Tile]) -> Iterator[list[Tile]]:
    """Put the tiles that are parts of the same block together."""

    def block(tile: Tile) -> tuple[int, ...]:
        return block_of(tile, frame.block)

    for _, some in itertools.groupby(sorted(grid, key=block), block):
        yield list(some)
