"""Which anchors and proposals are right and which wrong, and which of them count in a training step.

References
----------
Ren et al. 2017, doi:10.1109/TPAMI.2016.2577031, section 3.1.2
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_tessera.nn.boxes import areas, intersection_over_union

WRONG, NEITHER = -1, -2


def match(objects: Tensor, boxes: Tensor, right: float, wrong: float, best_always: bool = False) -> Tensor:
    """Say to which object each box belongs.

    Parameters
    ----------
    objects, boxes : Tensor (G, 4), (N, 4)
    right, wrong : float
        From an overlap (IoU) of `right` on, a box belongs to the object that it overlaps most; below `wrong` it is
        wrong; in between it is neither.
    best_always : bool
        The boxes that overlap an object most of all belong somewhere even below `right`.

    Returns
    -------
    integer Tensor (N,)
        Number of the object from 0, or `WRONG`, or `NEITHER`.
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


def spare_unpainted(matched: Tensor, boxes: Tensor, ignore: Tensor | None, largest_share: float) -> Tensor:
    """Make wrong boxes `NEITHER` where more than `largest_share` of the box was not painted.

    Parameters
    ----------
    matched : Tensor (N,)
    boxes : Tensor (N, 4)
    ignore : boolean Tensor (Y, X), optional
        Pixels that were not painted, so that nobody knows what is there.
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
    """Draw the boxes that count in this step.

    Parameters
    ----------
    matched : Tensor (N,)
        As from `match`.
    count : int
        Boxes to draw; wrong ones fill up where right ones are few.
    right_share : float
        Largest share of right ones.
    rng : torch.Generator, optional
        On the CPU.

    Returns
    -------
    right, wrong : Tensor (P,), (Q,)
        Indices of boxes.
    """
    right, wrong = (matched >= 0).nonzero()[:, 0], (matched == WRONG).nonzero()[:, 0]
    right = _some(right, int(count * right_share), rng)
    return right, _some(wrong, count - len(right), rng)


def _some(indices: Tensor, count: int, rng: torch.Generator | None) -> Tensor:
    return indices[torch.randperm(len(indices), generator=rng)[:count].to(indices.device)]
