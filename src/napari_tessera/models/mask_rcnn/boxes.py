"""Boxes: their overlap, and the code in which a network describes how a box has to move.

A box is (x0, y0, x1, y1) in pixels, x0 ≤ x1 and y0 ≤ y1; the pixel in column 0 reaches from x = 0 to x = 1. Its width
is x1 − x0: no pixel is added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LARGEST_GROWTH = math.log(1000 / 16)
"""Logarithm of the factor by which a code can at most stretch a side; keeps exp from overflowing."""


def areas(boxes: Tensor) -> Tensor:
    """Return the area of each box: (…, 4) to (…), px²."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def intersection_over_union(first: Tensor, second: Tensor) -> Tensor:
    """Return the shared area of each pair of boxes over the area of both together, (N, M); NaN without area."""
    shared = shared_areas(first, second)
    return shared / (areas(first)[:, None] + areas(second) - shared)


def shared_areas(first: Tensor, second: Tensor) -> Tensor:
    """Return the area that each pair of boxes has in common: (N, 4) and (M, 4) to (N, M), px²."""
    return _shared(first, second, 0).mul_(_shared(first, second, 1))


def _shared(first: Tensor, second: Tensor, axis: int) -> Tensor:
    """Return the length along x (0) or y (1) that each pair has in common: (N, M)."""
    low = torch.maximum(first[:, axis, None], second[:, axis].contiguous())
    high = torch.minimum(first[:, axis + 2, None], second[:, axis + 2].contiguous())
    return high.sub_(low).clamp_(min=0)


def clip(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Cut boxes (…, 4) off at the borders of an image of `shape` (Y, X)."""
    height, width = shape
    limits = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limits)


def has_sides(boxes: Tensor, shortest_px: float) -> Tensor:
    """Return whether both sides of each box (N, 4) are at least `shortest_px` long: (N,)."""
    return (boxes[:, 2] - boxes[:, 0] >= shortest_px) & (boxes[:, 3] - boxes[:, 1] >= shortest_px)


def encode(wanted: Tensor, boxes: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """Return how N `boxes` have to move and stretch to become the `wanted` ones, (N, 4).

    The code is the shift of the centre along x and y as a share of the box's sides, then the logarithms of the sides'
    growth, each multiplied by its weight (Girshick et al. 2014, doi:10.1109/CVPR.2014.81, appendix C).
    """
    centres, sides = _centres_and_sides(boxes)
    wanted_centres, wanted_sides = _centres_and_sides(wanted)
    shifts = (wanted_centres - centres) / sides
    growth = (wanted_sides / sides).log()
    return torch.cat([shifts, growth], dim=-1) * boxes.new_tensor(weights)


def decode(code: Tensor, boxes: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """Move and stretch boxes (N, 4) by codes (N, …, 4), several per box along the middle axes; inverse of `encode`."""
    code = code / code.new_tensor(weights)
    centres, sides = _centres_and_sides(boxes.reshape(len(boxes), *[1] * (code.ndim - 2), 4))
    centres = centres + code[..., :2] * sides
    half = 0.5 * sides * code[..., 2:].clamp(max=LARGEST_GROWTH).exp()
    return torch.cat([centres - half, centres + half], dim=-1)


def _centres_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides
