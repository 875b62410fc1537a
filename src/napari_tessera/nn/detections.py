"""Detections: from the scores of proposals to objects with a class, a score and a box each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from napari_tessera.nn.boxes import clip, decode, has_sides
from napari_tessera.nn.detection_settings import Settings
from napari_tessera.nn.suppression import suppress

SHORTEST_PX = 1e-2


@dataclass(frozen=True)
class Left:
    """What did not become a detection, though it might have; all 0 means that nothing was lost.

    Parameters
    ----------
    proposals : int
        Likely proposals left out by the limits on proposals.
    detections : int
        Detections above the number allowed.
    faint : int
        Detections below the score that was asked for, but above the model's lowest.
    """

    proposals: int = 0
    detections: int = 0
    faint: int = 0

    def __add__(self, other: Left) -> Left:
        return Left(self.proposals + other.proposals, self.detections + other.detections, self.faint + other.faint)

    def message(self) -> str:
        """Say in plain words what was left out; empty if nothing was."""
        parts = []
        if self.proposals:
            parts.append(f"{self.proposals} likely places were not looked at (limit on proposals)")
        if self.detections:
            parts.append(f"{self.detections} objects were left out (limit on detections)")
        if self.faint:
            parts.append(f"{self.faint} objects had a lower score than asked for")
        return "; ".join(parts)


@dataclass(frozen=True)
class Detections:
    """The objects found in one image, highest score first.

    Parameters
    ----------
    boxes : Tensor (N, 4)
    labels : Tensor (N,)
        Class of each, from 1.
    scores : Tensor (N,)
    masks : Tensor (N, m, m)
        Probability that a point of the box belongs to the object; the m×m points tile the box.
    left : Left
    contrast : Tensor (N,), optional
        See `contrast.contrasts`.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor
    left: Left = Left()
    contrast: Tensor | None = None

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
    """Turn the box head's output for one image into detections, which do not have masks yet.

    Parameters
    ----------
    class_scores : Tensor (N, K)
        Raw scores of each proposal, class 0 is the background.
    codes : Tensor (N, K, 4)
        How a proposal has to move if it is of that class.
    proposals : Tensor (N, 4)
    shape : (Y, X)
        Of the image without padding.
    lowest_score : float, optional
        Detections below it are left out, and counted down to the model's own threshold. A lower one than that goes
        before it.
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
    left = Left(detections=len(strong) - len(chosen), faint=len(kept) - len(strong))
    return Detections(boxes[chosen], labels[chosen], scores[chosen], torch.empty(len(chosen), 0, 0), left)
