"""Region proposals: anchors, boxes of few sizes and shapes at every place; the likely ones are moved and chosen.

References
----------
Ren et al. 2017, doi:10.1109/TPAMI.2016.2577031
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_tessera.models.mask_rcnn.boxes import clip, decode, has_sides
from napari_tessera.models.mask_rcnn.config import RATIOS, Settings
from napari_tessera.models.mask_rcnn.detections import suppress

SHORTEST_PX = 1e-3
FEWEST = 1000
CROWD_ANCHORS, CROWD_PROPOSALS = 8, 4
"""Where numbers grow with the image: anchors per level, and proposals, for each object that fits in side by side."""
LIKELY = 0.5
"""Probability from which a proposal that a limit cut off is worth a word to the user."""


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


@dataclass(frozen=True)
class Proposals:
    """The proposals of one image."""

    boxes: Tensor  # (N, 4), best first, within the image
    cut: int = 0  # how many likely ones (probability above one half) a limit left out


@dataclass(frozen=True)
class Limits:
    """How many anchors of each level are considered, and how many proposals are kept."""

    anchors: tuple[int, ...]
    proposals: int


def limits(settings: Settings, shape: Sequence[int], is_training: bool) -> Limits:
    """Return the limits for an image of `shape` (Y, X): those set, or ones that grow with the image."""
    before = settings.rpn_pre_nms_top_n_train if is_training else settings.rpn_pre_nms_top_n_test
    after = settings.rpn_post_nms_top_n_train if is_training else settings.rpn_post_nms_top_n_test
    fits = [int(shape[0] * shape[1] / min(sides) ** 2) for sides in settings.anchor_sizes]
    return Limits(
        tuple(max(FEWEST, CROWD_ANCHORS * n) if before is None else before for n in fits),
        max(FEWEST, CROWD_PROPOSALS * max(fits)) if after is None else after,
    )


def propose(
    scores: Sequence[Tensor],
    codes: Sequence[Tensor],
    anchors: Sequence[Tensor],
    shape: Sequence[int],
    limits: Limits,
    settings: Settings,
) -> Proposals:
    """Choose the proposals of one image of `shape`, without padding.

    `scores` (A,) are raw, `codes` (A, 4) tell how every anchor has to move, and `anchors` (A, 4) where it is, at each
    level.
    """
    boxes, chances, levels, cut = [], [], [], 0
    for level, (score, code, anchor) in enumerate(zip(scores, codes, anchors, strict=True)):
        score, best = score.topk(min(limits.anchors[level], len(score)))
        cut += int((scores[level] > 0).sum() - (score > 0).sum())
        boxes.append(clip(decode(code[best], anchor[best]), shape))
        chances.append(score.sigmoid())
        levels.append(torch.full_like(best, level))
    box, chance, group = torch.cat(boxes), torch.cat(chances), torch.cat(levels)
    is_valid = has_sides(box, SHORTEST_PX) & (chance >= settings.rpn_score_thresh)
    box, chance, group = box[is_valid], chance[is_valid], group[is_valid]
    kept = suppress(box, chance, settings.rpn_nms_thresh, group)
    cut += int((chance[kept[limits.proposals :]] > LIKELY).sum())
    return Proposals(box[kept[: limits.proposals]], cut)
