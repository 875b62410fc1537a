"""Match boxes to the objects of a training image: which proposals learn which object, and which learn background.

A `DetectionTarget` is what is known of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from napari_tessera.models.mask_rcnn.boxes import areas, intersection_over_union

WRONG, NEITHER = -1, -2


def match(objects: Tensor, boxes: Tensor, right: float, wrong: float, best_always: bool = False) -> Tensor:
    """Return the number of the object of each box, from 0, or `WRONG`, or `NEITHER`: (N,).

    From an overlap (IoU) of `right` on, a box belongs to the object that it overlaps most; below `wrong` it is wrong;
    in between it is neither. With `best_always`, the boxes that overlap an object most of all belong to one even below
    `right`.
    """
    if len(objects) == 0:
        return torch.full((len(boxes),), WRONG, device=boxes.device)
    overlap = intersection_over_union(objects, boxes).nan_to_num()  # (G, N)
    largest, nearest = overlap.max(dim=0)
    matched = torch.where(largest >= right, nearest, NEITHER)
    matched[largest < wrong] = WRONG
    if best_always:
        is_best = ((overlap == overlap.amax(dim=1, keepdim=True)) & (overlap > 0)).any(dim=0)
        matched[is_best] = nearest[is_best]
    return matched


def ignore_unlabeled(matched: Tensor, boxes: Tensor, ignore: Tensor | None, largest_share: float) -> Tensor:
    """Make wrong boxes `NEITHER` where more than `largest_share` of the box was not painted.

    `ignore` (Y, X) marks the pixels that were not painted.
    """
    if ignore is None:
        return matched
    is_spared = (matched == WRONG) & (share_inside(ignore, boxes) > largest_share)
    return torch.where(is_spared, NEITHER, matched)


def share_inside(mask: Tensor, boxes: Tensor) -> Tensor:
    """Return which share of each box's pixels within the image is True in `mask`: (Y, X) and (N, 4) to (N,).

    A box outside the image counts as unpainted: 1.
    """
    height, width = mask.shape
    sums = torch.zeros(height + 1, width + 1, dtype=torch.long, device=mask.device)
    sums[1:, 1:] = mask.long().cumsum(0).cumsum(1)
    limits = torch.tensor([width, height, width, height], device=mask.device)
    corners = torch.minimum(boxes.round().long().clamp(min=0), limits)
    x0, y0, x1, y1 = corners.unbind(dim=1)
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    pixels = areas(corners)
    return torch.where(pixels > 0, inside / pixels.clamp(min=1), 1.0)


def draw(matched: Tensor, count: int, right_share: float, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Draw the boxes that count in this step, as indices of right ones (P,) and wrong ones (Q,), P + Q up to `count`.

    At most `right_share` of them are right; wrong ones fill up where right ones are few. `rng` is on the CPU.
    """
    right, wrong = (matched >= 0).nonzero()[:, 0], (matched == WRONG).nonzero()[:, 0]
    right = _some(right, int(count * right_share), rng)
    return right, _some(wrong, count - len(right), rng)


def _some(indices: Tensor, count: int, rng: torch.Generator | None) -> Tensor:
    return indices[torch.randperm(len(indices), generator=rng)[:count].to(indices.device)]


@dataclass(frozen=True)
class DetectionTarget:
    """The truth of one training image."""

    boxes: Tensor  # (G, 4)
    labels: Tensor  # (G,), class of each object, from 1
    instances: Tensor  # (Y, X), g + 1 on the pixels of object g, 0 elsewhere
    ignore: Tensor | None = None  # (Y, X), not painted: detections there count neither as right nor as wrong

    def scaled(self, shape: Sequence[int]) -> DetectionTarget:
        """Return the truth of the image scaled to `shape` (Y, X)."""
        if tuple(shape) == tuple(self.instances.shape):
            return self
        down, right = (new / old for new, old in zip(shape, self.instances.shape, strict=True))
        return DetectionTarget(
            self.boxes * self.boxes.new_tensor([right, down, right, down]),
            self.labels,
            _nearest(self.instances, shape),
            None if self.ignore is None else _nearest(self.ignore, shape),
        )

    def to(self, device: torch.device | str) -> DetectionTarget:
        """Return the same on another device."""
        ignore = None if self.ignore is None else self.ignore.to(device)
        parts = (self.boxes, self.labels, self.instances)
        return replace(DetectionTarget(*(each.to(device) for each in parts)), ignore=ignore)


def _nearest(image: Tensor, shape: Sequence[int]) -> Tensor:
    whole = functional.interpolate(image[None, None].double(), size=list(shape), mode="nearest-exact")
    return whole[0, 0].to(image.dtype)


def truth_of(
    labels: Tensor, classes: Tensor, ignore: Tensor | None = None, is_aligned: bool = False
) -> DetectionTarget:
    """Make the truth from a label image: 0 is the background, objects have any numbers.

    `classes` holds the class of each label, from 1. Aligned boxes reach to the outer edges of an object's outer pixels;
    others from its first to its last column and row, one pixel less, as in the data of the published model.
    """
    numbers, instances = labels.unique(return_inverse=True)
    if numbers[0] != 0:
        instances, numbers = instances + 1, torch.cat([numbers.new_zeros(1), numbers])
    y, x = instances.nonzero(as_tuple=True)
    owner, count = instances[y, x] - 1, len(numbers) - 1
    places = torch.stack([x, y], dim=1)
    owners = owner[:, None].expand(-1, 2)
    low = torch.zeros(count, 2, dtype=torch.long).scatter_reduce(0, owners, places, "amin", include_self=False)
    high = torch.zeros(count, 2, dtype=torch.long).scatter_reduce(0, owners, places, "amax", include_self=False)
    boxes = torch.cat([low, high + int(is_aligned)], dim=1).float()
    return DetectionTarget(boxes, classes[numbers[1:]], instances, ignore)


def mask_targets(
    boxes: Sequence[Tensor], objects: Sequence[Tensor], truths: Sequence[DetectionTarget], size: int, is_aligned: bool
) -> Tensor:
    """Read the true masks on a grid in each box: (all P, size, size), 0 not painted, 1 outside, 2 inside the object.

    `boxes` (P, 4) and `objects` (P,), the number of the object of each box, are those of each image.
    """
    grids = [_grid(*each, size, is_aligned) for each in zip(boxes, objects, truths, strict=True)]
    return torch.cat(grids)


def _grid(boxes: Tensor, objects: Tensor, truth: DetectionTarget, size: int, is_aligned: bool) -> Tensor:
    steps = (torch.arange(size, device=boxes.device) + 0.5) / size
    at = boxes[:, :2, None] + (boxes[:, 2:] - boxes[:, :2])[..., None] * steps  # (P, 2, size)
    pixels = (at if is_aligned else at + 0.5).floor().long()
    height, width = truth.instances.shape
    x, y = pixels[:, 0].clamp(0, width - 1)[:, None], pixels[:, 1].clamp(0, height - 1)[:, :, None]
    target = 1 + (truth.instances[y, x] == objects[:, None, None] + 1).long()
    return target if truth.ignore is None else target.masked_fill(truth.ignore[y, x], 0)
