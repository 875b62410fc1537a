"""Non-maximum suppression: of boxes that cover each other, keep the one with the highest score."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_tessera.nn.boxes import intersection_over_union

BLOCK = 256
"""Boxes decided at a time: their overlaps with each other and with all lower boxes fit into the cache."""
COLUMNS = 1 << 15
"""Lower boxes compared with a block at a time, which bounds the memory."""


def suppress(boxes: Tensor, scores: Tensor, threshold: float, groups: Tensor | None = None) -> Tensor:
    """Keep each box that no kept box of higher score overlaps by more than `threshold`.

    The result is the one of the greedy definition (take the best box, drop all that overlap it by more, and so on),
    computed for blocks of boxes at once. Of equal scores the first comes first.

    Parameters
    ----------
    boxes : Tensor (N, 4)
    scores : Tensor (N,)
    threshold : float
        Intersection over union.
    groups : integer Tensor (N,), optional
        Class or level: boxes of different groups do not suppress each other.

    Returns
    -------
    Tensor (K,)
        Indices of the kept boxes, highest score first.

    References
    ----------
    Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, section 7.2.

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
    """Return the indices of the kept boxes, which come in the order of their scores."""
    kept, left = [], torch.arange(len(boxes), device=boxes.device)
    while len(left):
        block, left = left[:BLOCK], left[BLOCK:]
        block = block[_kept_of_block(boxes[block], threshold)]
        kept.append(block)
        free = [~_covers(boxes[block], boxes[part], threshold).any(dim=0) for part in left.split(COLUMNS)]
        left = left[torch.cat(free)]
    return torch.cat(kept) if kept else left


def _kept_of_block(boxes: Tensor, threshold: float) -> Tensor:
    """Say which boxes of a block are kept.

    A box is kept if and only if no kept box before it covers it. Starting from "all are kept" and applying this rule to
    all at once, the first n boxes are right for good after n rounds. In practice a few rounds do: when nothing changes
    any more, the rule holds for all.
    """
    covers = _covers(boxes, boxes, threshold).triu(diagonal=1)
    kept = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        again = ~(covers & kept[:, None]).any(dim=0)
        if torch.equal(again, kept):
            return kept
        kept = again


def _covers(first: Tensor, second: Tensor, threshold: float) -> Tensor:
    return intersection_over_union(first, second) > threshold
