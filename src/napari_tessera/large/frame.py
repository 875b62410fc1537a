"""One frame of an image, and work on it block by block."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.door import check_image
from napari_tessera.errors import FileError
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.kernels.grid import Slices
from napari_tessera.large.chunked import Made, Pool, read, unchanged
from napari_tessera.large.memory import give_back
from napari_tessera.large.tiles import Tile, block_of, tiles

Work = Callable[..., Job[Any]]
"""What is done with a tile's part of the image: takes that, the tile, and the other inputs by name."""
Inputs = Mapping[str, np.ndarray | None]
"""Other inputs than the image, by name."""


@dataclass(frozen=True)
class Output:
    """Labels of one frame within a larger array, written and read in place; zarr arrays have no views of their own.

    Attributes
    ----------
    whole : array
        NumPy, in the memory of this process; or zarr, which workers open themselves.
    frame : tuple of int
    """

    whole: Any
    frame: tuple[int, ...] = ()

    @property
    def is_held(self) -> bool:
        """Whether the labels lie in this process's memory, which workers elsewhere do not share."""
        return isinstance(self.whole, np.ndarray)

    def __getitem__(self, index: Slices) -> Any:
        """Read some pixels of the frame."""
        return self.whole[(*self.frame, *index)]

    def __setitem__(self, index: Slices, values: Any) -> None:
        """Write some pixels of the frame.

        Raises
        ------
        FileError
            If the folder is gone, as when the run has been cancelled: zarr would make it anew, with nothing else in it.
        """
        if not self.is_held and not Path(self.whole.store.root, self.whole.path).is_dir():
            raise FileError(f"The folder for the labels, {self.whole.store.root}, was removed during the run.")
        self.whole[(*self.frame, *index)] = values


@dataclass(frozen=True)
class Labelled:
    """What a task found in a tile.

    Attributes
    ----------
    tile : Tile
    labels : array
        Of the pixels that the tile decides.
    told : object
        Whatever else there is to say of them: small.
    """

    tile: Tile
    labels: np.ndarray
    told: Any


@dataclass(frozen=True)
class Frame:
    """One frame to be labelled in blocks.

    Attributes
    ----------
    image : NumPy or dask array
        Spatial axes first, then channels if there are any.
    output : Output
        Where the final labels go.
    draft : Output
        Where labels go that get their final numbers later. In memory it is `output`; labels in a folder are numbered
        from one array into the other, so that no number is changed twice where a block is numbered twice.
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
    output: Output
    draft: Output
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


def over(
    frame: Frame,
    grid: Sequence[Tile],
    work: Work,
    at: Pool,
    text: str,
    into: Output | None = None,
    inputs: Callable[[Tile], Inputs] | None = None,
) -> Job[list[Any]]:
    """Work on every tile's part of the image, and return the outcomes in the order of the tiles.

    The tiles of one block are one task, one after the other: no two tasks ever write to the same chunk of a zarr array.

    Parameters
    ----------
    frame, grid, work, at, text
    into : Output, optional
        Where the labels go that `work` returns, as `Labelled`; the outcome is then what it tells. Workers write them
        there themselves, or send them where they cannot reach it.
    inputs : callable (tile) -> dict, optional
        The other inputs, cut to a tile.
    """
    together = list(by_block(frame, grid))

    def given(some: list[Tile]) -> tuple[Any, ...]:
        return ([(tile, frame.image[tile.read], inputs(tile) if inputs else {}) for tile in some],)

    def receive(found: list[Labelled]) -> list[Any]:
        return [_written(into, each) for each in found]

    is_reached = into is None or at.reaches(into)
    task = partial(_over_tiles, work, into if is_reached else None, frame.name, text)
    outcomes = yield from at.run(task, Made(given, together), text, unchanged if is_reached else receive)
    by_place = {
        tile.place: outcome
        for some, found in zip(together, outcomes, strict=True)
        for tile, outcome in zip(some, found, strict=True)
    }
    return [by_place[tile.place] for tile in grid]


def _over_tiles(
    work: Work, into: Output | None, name: str, text: str, parts: list[tuple[Tile, Any, Inputs]]
) -> Job[list[Any]]:
    """Work on the tiles of one block, and write the labels if there is where to; what it needs is all it holds."""
    outcomes = []
    for done, (tile, part, others) in enumerate(parts):
        yield Progress(done, len(parts), text)
        block = check_image(read(part), name)
        own = {key: array if array is None else np.ascontiguousarray(array) for key, array in others.items()}
        found = yield from part_of(work(block, tile, **own), done, 1, len(parts))
        outcomes.append(found if into is None else _written(into, found))
        del block
        give_back()
    return outcomes


def _written(into: Output | None, found: Labelled) -> Any:
    assert into is not None
    into[found.tile.write] = found.labels
    return found.told


def by_block(frame: Frame, grid: Sequence[Tile]) -> Iterator[list[Tile]]:
    """Put the tiles that are parts of the same block together."""

    def block(tile: Tile) -> tuple[int, ...]:
        return block_of(tile, frame.block)

    for _, some in itertools.groupby(sorted(grid, key=block), block):
        yield list(some)
