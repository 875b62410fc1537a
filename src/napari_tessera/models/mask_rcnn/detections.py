"""Detections: from the scores of proposals to objects with a class, a score and a box each.

Non-maximum suppression: of boxes that cover each other, keep the one with the highest score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_tessera.models.mask_rcnn.boxes import areas, clip, decode, has_sides
from napari_tessera.models.mask_rcnn.config import Settings

Array = Any
"""A Tensor or a NumPy array."""
BLOCK = 128
"""Boxes decided at a time: their overlaps with each other and with all lower boxes fit into the cache."""
COLUMNS = 1 << 12
"""Lower boxes compared with a block at a time, which bounds the memory."""


def suppress(boxes: Tensor, scores: Tensor, threshold: float, groups: Tensor | None = None) -> Tensor:
    """Keep each box that no kept box of higher score overlaps by more than `threshold`; return indices, best first.

    The result is the one of the greedy definition (take the best box, drop all that overlap it by more, and so on;
    Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, section 7.2), computed for blocks of boxes at once. Of equal
    scores the first comes first. The overlap is intersection over union; boxes (N, 4) of different `groups` (N,), such
    as classes, do not suppress each other.

    Examples
    --------
    >>> import torch
    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]])
    >>> suppress(boxes, torch.tensor([0.8, 0.9, 0.1]), 0.5)
    tensor([1, 2])
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order]
    if groups is None:
        return order[_kept(boxes, threshold)]
    groups, is_kept = groups[order], torch.zeros_like(order, dtype=torch.bool)
    for group in groups.unique():
        members = (groups == group).nonzero()[:, 0]
        is_kept[members[_kept(boxes[members], threshold)]] = True
    return order[is_kept]


def _kept(boxes: Tensor, threshold: float) -> Tensor:
    """Return the indices of the kept boxes, which come in the order of their scores.

    NumPy works on the processor, in one thread: torch shares even such small work out among all cores, and where these
    are busy with something else, it waits for each of them, a hundred times as long as the work takes.
    """
    if boxes.device.type != "cpu":
        return _kept_by(torch, boxes, threshold)
    with np.errstate(divide="ignore", invalid="ignore"):  # of two boxes without area, none covers the other
        return torch.from_numpy(_kept_by(np, boxes.numpy(), threshold))


def _kept_by(library: Any, boxes: Array, threshold: float) -> Array:
    """Return the indices of the kept boxes; `library` is torch or numpy, what is used of them is called the same."""
    kept, left = [], library.argwhere(library.ones_like(boxes[:, 0]))[:, 0]
    while len(left):
        block, left = left[:BLOCK], left[BLOCK:]
        block = block[_kept_of_block(library, boxes[block], threshold)]
        kept.append(block)
        parts = [left[start : start + COLUMNS] for start in range(0, len(left), COLUMNS)] or [left]
        free = [~_covers(library, boxes[block], boxes[part], threshold).any(0) for part in parts]
        left = left[library.concatenate(free)]
    return library.concatenate(kept) if kept else left


def _kept_of_block(library: Any, boxes: Array, threshold: float) -> Array:
    """Return which boxes of a block are kept.

    A box is kept if and only if no kept box before it covers it. Starting from "all are kept" and applying this rule to
    all at once, the first n boxes are right for good after n rounds. In practice a few rounds do: when nothing changes
    any more, the rule holds for all.
    """
    covers = library.triu(_covers(library, boxes, boxes, threshold), 1)
    kept = library.ones_like(boxes[:, 0]) > 0
    while True:
        again = ~(covers & kept[:, None]).any(0)
        if bool((again == kept).all()):
            return kept
        kept = again


def _covers(library: Any, first: Array, second: Array, threshold: float) -> Array:
    """Return whether the boxes of each pair overlap by more than `threshold`: (N, 4) and (M, 4) to (N, M)."""
    shared = _in_common(library, first, second, 0) * _in_common(library, first, second, 1)
    return shared / (areas(first)[:, None] + areas(second) - shared) > threshold


def _in_common(library: Any, first: Array, second: Array, axis: int) -> Array:
    """Return the length along x (0) or y (1) that each pair has in common: (N, M)."""
    low = library.maximum(first[:, axis, None], second[None, :, axis])
    return (library.minimum(first[:, axis + 2, None], second[None, :, axis + 2]) - low).clip(0)


SHORTEST_PX = 1e-2


@dataclass(frozen=True)
class DroppedProposals:
    """How many proposals did not become a detection, though they might have; all 0 means that none was lost."""

    proposals: int = 0  # likely proposals left out by the limits on proposals
    detections: int = 0  # detections above the number allowed
    faint: int = 0  # detections below the score that was asked for, but above the model's lowest

    def __add__(self, other: DroppedProposals) -> DroppedProposals:
        return DroppedProposals(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Detections:
    """The N objects found in one image, highest score first."""

    boxes: Tensor  # (N, 4)
    labels: Tensor  # (N,), class of each, from 1
    scores: Tensor  # (N,)
    masks: Tensor  # (N, m, m), probability that a point belongs to the object; the points tile the box
    left: DroppedProposals = DroppedProposals()
    contrast: Tensor | None = None  # (N,), see `inference.rescore_detections.contrasts`

    def scaled(self, down: float, right: float) -> Detections:
        """Return the same objects in an image whose pixels are `down` and `right` times as many along y and x."""
        return replace(self, boxes=self.boxes * self.boxes.new_tensor([right, down, right, down]))

    def moved(self, down_px: float, right_px: float) -> Detections:
        """Return the same objects in an image in which this one begins at row `down_px` and column `right_px`."""
        return replace(self, boxes=self.boxes + self.boxes.new_tensor([right_px, down_px, right_px, down_px]))

    def to(self, device: str) -> Detections:
        """Return the same on another device."""
        return self._with_each(lambda each: each.to(device))

    def with_scores(self, scores: np.ndarray) -> Detections:
        """Return the same objects with other scores (N,), highest score first."""
        others = torch.from_numpy(scores).to(self.scores)
        order = torch.argsort(others, descending=True, stable=True)
        return replace(self.chosen(order), scores=others[order])

    def chosen(self, which: Tensor | np.ndarray) -> Detections:
        """Return the objects with these indices, in this order."""
        return self._with_each(lambda each: each[which])

    def _with_each(self, change: Callable[[Tensor], Tensor]) -> Detections:
        boxes, labels, scores, masks = (change(each) for each in (self.boxes, self.labels, self.scores, self.masks))
        contrast = None if self.contrast is None else change(self.contrast)
        return replace(self, boxes=boxes, labels=labels, scores=scores, masks=masks, contrast=contrast)


def detect(
    class_scores: Tensor,
    codes: Tensor,
    proposals: Tensor,
    shape: Sequence[int],
    settings: Settings,
    lowest_score: float | None = None,
) -> Detections:
    """Turn the box head's output for the N proposals of one image of `shape` into detections, which have no masks yet.

    `class_scores` (N, K) are raw, class 0 is the background; `codes` (N, K, 4) tell how a proposal has to move if it is
    of that class. Detections below `lowest_score` are left out, and counted down to the model's own threshold; a lower
    one than that replaces it.
    """
    chances = class_scores.softmax(dim=1)[:, 1:]
    threshold = settings.box_score_thresh if lowest_score is None else min(settings.box_score_thresh, lowest_score)
    which, kinds = (chances > threshold).nonzero(as_tuple=True)
    scores, labels = chances[which, kinds], kinds + 1
    boxes = clip(decode(codes[which, labels], proposals[which], settings.bbox_reg_weights), shape)
    is_valid = has_sides(boxes, SHORTEST_PX)
    boxes, scores, labels = boxes[is_valid], scores[is_valid], labels[is_valid]
    kept = suppress(boxes, scores, settings.box_nms_thresh, labels)
    # Suppression never looks at lower scores, so the threshold may come after it, and what it costs can be counted.
    strong = kept if lowest_score is None else kept[scores[kept] >= lowest_score]
    chosen = strong[: settings.box_detections_per_img]
    left = DroppedProposals(detections=len(strong) - len(chosen), faint=len(kept) - len(strong))
    return Detections(boxes[chosen], labels[chosen], scores[chosen], torch.empty(len(chosen), 0, 0), left)
