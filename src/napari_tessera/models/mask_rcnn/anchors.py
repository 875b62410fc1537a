"""Anchors: the boxes of few sizes and shapes, at every place of the image, from which proposals start.

References
----------
Ren et al. 2017, doi:10.1109/TPAMI.2016.2577031, section 3.1.1
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

COCO_SIDES_PX = ((32,), (64,), (128,), (256,), (512,))
RATIOS = (0.5, 1.0, 2.0)


def sides_for(diameter_px: float, levels: int = 5) -> tuple[tuple[float, ...], ...]:
    """Choose anchor sides at each level, finest first: half the usual diameter of objects, doubling from there.

    Examples
    --------
    >>> sides_for(32, levels=3)
    ((16.0,), (32.0,), (64.0,))
    """
    return tuple((0.5 * diameter_px * 2.0**level,) for level in range(levels))


def cell_anchors(sides_px: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Return the anchors around the origin, (len(ratios)·len(sides_px), 4), in whole pixels.

    A side is the square root of an anchor's area, a ratio its height over its width; all sides of the first ratio come
    first.
    """
    stretch = torch.tensor(ratios, dtype=torch.float32).sqrt()[:, None]
    sides = torch.tensor(sides_px, dtype=torch.float32)[None]
    widths, heights = ((1 / stretch) * sides).flatten(), (stretch * sides).flatten()
    return (torch.stack([-widths, -heights, widths, heights], dim=1) / 2).round()


def grid_anchors(
    grids: Sequence[Sequence[int]],
    image: Sequence[int],
    sides_px: Sequence[Sequence[float]],
    ratios: Sequence[float] = RATIOS,
    device: torch.device | str = "cpu",
) -> list[Tensor]:
    """Lay the anchors of each level around every feature pixel: Tensors (Y·X·A, 4), row by row.

    `grids` are (Y, X) in feature pixels of each level, and `image` (Y, X) in pixels of the padded image; a level's
    stride is the whole part of image side over feature pixels. The A anchors of one feature pixel lie together.
    """
    return [
        _one_level(grid, image, cell_anchors(sides, ratios).to(device))
        for grid, sides in zip(grids, sides_px, strict=True)
    ]


def _one_level(grid: Sequence[int], image: Sequence[int], cell: Tensor) -> Tensor:
    down, right = (torch.arange(n, device=cell.device) * (side // n) for n, side in zip(grid, image, strict=True))
    y, x = (each.flatten() for each in torch.meshgrid(down, right, indexing="ij"))
    places = torch.stack([x, y, x, y], dim=1)  # (Y·X, 4)
    return (places[:, None] + cell).reshape(-1, 4)
