"""Region proposals: the anchors at which something seems to be, moved onto it, without doubles.

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
from napari_tessera.models.mask_rcnn.config import Settings
from napari_tessera.models.mask_rcnn.detections import suppress

SHORTEST_PX = 1e-3
FEWEST = 1000
CROWD_ANCHORS, CROWD_PROPOSALS = 8, 4
"""Where numbers grow with the image: anchors per level, and proposals, for each object that fits in side by side."""
LIKELY = 0.5
"""Probability from which a proposal that a limit cut off is worth a word to the user."""


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
