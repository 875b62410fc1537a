"""Non-maximum suppression: of boxes that cover each other, keep the one with the highest score."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_tessera.nn.boxes import areas

Array = Any
"""A Tensor or a NumPy array."""
BLOCK = 128
"""Boxes decided at a time: their overlaps with each other and with all lower boxes fit into the cache."""
COLUMNS = 1 << 12
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
    """Say which boxes of a block are kept.

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
    """Say of each pair of boxes whether they overlap by more than `threshold`: (N, 4) and (M, 4) to (N, M)."""
    shared = _in_common(library, first, second, 0) * _in_common(library, first, second, 1)
    return shared / (areas(first)[:, None] + areas(second) - shared) > threshold


def _in_common(library: Any, first: Array, second: Array, axis: int) -> Array:
    """Return the length along x (0) or y (1) that each pair has in common: (N, M)."""
    low = library.maximum(first[:, axis, None], second[None, :, axis])
    return (library.minimum(first[:, axis + 2, None], second[None, :, axis + 2]) - low).clip(0)
