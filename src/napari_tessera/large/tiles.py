"""Arithmetic of tiles: what each one reads and what it writes. The write regions partition the image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes
    ----------
    place : tuple of int
        Position in the grid of tiles.
    write : tuple of slice
        Pixels this tile decides.
    read : tuple of slice
        Pixels it looks at: `write` and the halo around it, as far as the image goes.
    """

    place: tuple[int, ...]
    write: Slices
    read: Slices

    @property
    def inner(self) -> Slices:
        """Where `write` lies inside `read`."""
        return tuple(
            slice(core.start - outer.start, core.stop - outer.start)
            for core, outer in zip(self.write, self.read, strict=True)
        )

    def next_to(self, axis: int) -> tuple[int, ...]:
        """Place of the tile that follows along `axis`, whether it exists or not."""
        return (*self.place[:axis], self.place[axis] + 1, *self.place[axis + 1 :])


def tiles(shape: Sequence[int], size: Sequence[int], halo: Sequence[int]) -> Iterator[Tile]:
    """Cut an image of `shape` into tiles of `size` pixels (smaller at the far edges), in raster order.

    Parameters
    ----------
    shape, size, halo : sequence of int
        One entry per axis; `size` at least 1, `halo` at least 0.
    """
    counts = [-(-length // step) for length, step in zip(shape, size, strict=True)]
    for place in itertools.product(*map(range, counts)):
        write = tuple(
            slice(index * step, min((index + 1) * step, length))
            for index, step, length in zip(place, size, shape, strict=True)
        )
        read = tuple(
            slice(max(0, part.start - margin), min(length, part.stop + margin))
            for part, margin, length in zip(write, halo, shape, strict=True)
        )
        yield Tile(place, write, read)
