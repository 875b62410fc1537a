"""Cut an image into tiles: each reads its pixels and a halo, and writes its pixels alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Tile:
    """One tile."""

    place: tuple[int, ...]  # position in the grid of tiles
    write: Slices  # pixels that it labels
    read: Slices  # pixels that it reads: `write` and the halo around it, within the image

    @property
    def inner(self) -> Slices:
        """Where `write` lies inside `read`."""
        return place_in(self.write, self.read)

    def next_to(self, axis: int) -> tuple[int, ...]:
        """Return the place of the next tile along `axis`, which may not exist."""
        return (*self.place[:axis], self.place[axis] + 1, *self.place[axis + 1 :])


def tiles(
    shape: Sequence[int], size: Sequence[int], halo: Sequence[int], parts: Sequence[int] | None = None
) -> Iterator[Tile]:
    """Yield tiles of `size` pixels (smaller at the far edges) in raster order, each cut again into `parts` per axis."""
    rows = [_cuts(*along) for along in zip(shape, size, parts or (1,) * len(shape), strict=True)]
    for place in itertools.product(*(range(len(cuts)) for cuts in rows)):
        write = tuple(cuts[index] for cuts, index in zip(rows, place, strict=True))
        yield Tile(place, write, widened(write, halo, shape))


def widened(part: Slices, halo: Sequence[int], shape: Sequence[int]) -> Slices:
    """Return a part of an image with `halo` pixels around it, within the image."""
    return tuple(
        slice(max(0, along.start - margin), min(length, along.stop + margin))
        for along, margin, length in zip(part, halo, shape, strict=True)
    )


def place_in(part: Slices, outer: Slices) -> Slices:
    """Return where a part of an image lies inside a larger part."""
    return tuple(
        slice(inner.start - wide.start, inner.stop - wide.start) for inner, wide in zip(part, outer, strict=True)
    )


def _cuts(length: int, size: int, parts: int) -> list[slice]:
    """Cut an axis at every multiple of `size`, and each stretch in `parts`."""
    starts = sorted({block + size * part // parts for block in range(0, length, size) for part in range(parts)})
    starts = [start for start in starts if start < length]
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], length], strict=True)]


def block_of(tile: Tile, size: Sequence[int]) -> tuple[int, ...]:
    """Return the place, in the grid of blocks of `size` pixels, of the block that contains a tile."""
    return tuple(part.start // side for part, side in zip(tile.write, size, strict=True))
