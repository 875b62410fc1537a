"""What Mask R-CNN learns from: whether a box holds an object, which, where exactly, and its mask.

Paint convention: a target of 0 does not count. Classes and masks are scored by losses that are passed in, such as
those of `train.losses`; the box losses are those of the paper.

References
----------
He et al. 2017, doi:10.1109/ICCV.2017.322, section 3; Ren et al. 2017, doi:10.1109/TPAMI.2016.2577031, section 3.1.2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_tessera.models.mask_rcnn.boxes import encode
from napari_tessera.models.mask_rcnn.config import Settings
from napari_tessera.models.mask_rcnn.heads import RegionHeads
from napari_tessera.models.mask_rcnn.matcher import DetectionTarget, draw, ignore_unlabeled, mask_targets, match
from napari_tessera.models.mask_rcnn.roi_align import roi_align

Loss = Callable[[Tensor, Tensor], Tensor]
SHARPNESS = 1 / 9
"""Error of a box code below which its loss is quadratic."""
STRIDES = (4, 8, 16, 32)
"""Pixels per feature pixel at the levels from which boxes are read."""


@dataclass(frozen=True)
class Criteria:
    """How classes and masks are scored: functions of raw scores (B, K, …) and a target (B, …), where 0 does not count.

    `classes` takes scores (R, K) of R boxes, and a target of 1 for the background, 2 for the first class; `masks` takes
    scores (P, 1, m, m) of P boxes, and a target of 1 outside and 2 inside the object.
    """

    classes: Loss
    masks: Loss


@dataclass(frozen=True)
class SampledProposals:
    """The R proposals of one image that count in a step, the P with an object first."""

    boxes: Tensor  # (R, 4)
    objects: Tensor  # (P,), number of the object of each of the first P boxes

    def classes(self, truth: DetectionTarget) -> Tensor:
        """Return the class of each box, (R,), 0 for the background."""
        classes = torch.zeros(len(self.boxes), dtype=torch.long, device=self.boxes.device)
        classes[: len(self.objects)] = truth.labels[self.objects]
        return classes


def proposal_losses(
    scores: Sequence[Tensor],
    codes: Sequence[Tensor],
    anchors: Tensor,
    truths: Sequence[DetectionTarget],
    settings: Settings,
    rng: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Return the losses of the proposal head on a batch, ``"objectness"`` and ``"proposal_box"``.

    `scores` (A,) and `codes` (A, 4) of each image are those of all levels together, as are the `anchors` (A, 4).
    """
    drawn_scores, wanted, box_error = [], [], anchors.new_zeros(())
    for score, code, truth in zip(scores, codes, truths, strict=True):
        matched = match(truth.boxes, anchors, settings.rpn_fg_iou_thresh, settings.rpn_bg_iou_thresh, best_always=True)
        matched = ignore_unlabeled(matched, anchors, truth.ignore, settings.largest_ignored_share)
        right, wrong = draw(matched, settings.rpn_batch_size_per_image, settings.rpn_positive_fraction, rng)
        drawn_scores += [score[right], score[wrong]]
        wanted += [torch.ones_like(score[right]), torch.zeros_like(score[wrong])]
        box_error = box_error + box_loss(code[right], encode(truth.boxes[matched[right]], anchors[right]))
    together, count = torch.cat(drawn_scores).float(), max(1, sum(map(len, drawn_scores)))
    surprise = functional.binary_cross_entropy_with_logits(together, torch.cat(wanted).float(), reduction="sum")
    return {"objectness": surprise / count, "proposal_box": box_error / count}


def box_loss(codes: Tensor, wanted: Tensor) -> Tensor:
    """Sum the smooth absolute errors of box codes."""
    return functional.smooth_l1_loss(codes.float(), wanted.float(), beta=SHARPNESS, reduction="sum")


def draw_proposals(
    proposals: Tensor, truth: DetectionTarget, settings: Settings, rng: torch.Generator | None = None
) -> SampledProposals:
    """Draw the proposals of one image that count; the true boxes are among the candidates."""
    boxes = torch.cat([truth.boxes, proposals])
    matched = match(truth.boxes, boxes, settings.box_fg_iou_thresh, settings.box_bg_iou_thresh)
    matched = ignore_unlabeled(matched, boxes, truth.ignore, settings.largest_ignored_share)
    right, wrong = draw(matched, settings.box_batch_size_per_image, settings.box_positive_fraction, rng)
    return SampledProposals(torch.cat([boxes[right], boxes[wrong]]), matched[right])


def region_losses(
    heads: RegionHeads,
    levels: Sequence[Tensor],
    drawn: Sequence[SampledProposals],
    truths: Sequence[DetectionTarget],
    settings: Settings,
    criteria: Criteria,
) -> dict[str, Tensor]:
    """Return the losses of the heads on the drawn proposals, ``"class"``, ``"box"`` and ``"mask"``.

    `levels` are the pyramid, finest first, each (B, C, Y, X); the boxes are read from its first four levels.
    """
    levels = levels[: len(STRIDES)]
    pooled = roi_align(levels, [each.boxes for each in drawn], STRIDES, settings.box_pooling)
    scores, codes = heads.boxes(pooled)
    classes = torch.cat([each.classes(truth) for each, truth in zip(drawn, truths, strict=True)])
    own_codes = codes[classes > 0, classes[classes > 0]]  # (P, 4)
    box_error = box_loss(own_codes, _wanted_codes(drawn, truths, settings)) / max(1, len(classes))
    right = [each.boxes[: len(each.objects)] for each in drawn]
    masks = heads.masks(roi_align(levels, right, STRIDES, settings.mask_pooling))
    own_masks = masks[torch.arange(len(masks), device=masks.device), classes[classes > 0], None]  # (P, 1, m, m)
    wanted = mask_targets(right, [each.objects for each in drawn], truths, masks.shape[-1], settings.is_aligned)
    return {"class": criteria.classes(scores, classes + 1), "box": box_error, "mask": criteria.masks(own_masks, wanted)}


def _wanted_codes(drawn: Sequence[SampledProposals], truths: Sequence[DetectionTarget], settings: Settings) -> Tensor:
    """Return how the drawn boxes with an object have to move onto it: (P, 4)."""
    codes = [
        encode(truth.boxes[each.objects], each.boxes[: len(each.objects)], settings.bbox_reg_weights)
        for each, truth in zip(drawn, truths, strict=True)
    ]
    return torch.cat(codes)
