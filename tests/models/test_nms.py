"""Non-maximum suppression: identical to the greedy definition."""

import pytest
import torch

from napari_tessera.models.mask_rcnn import detections as suppression
from napari_tessera.models.mask_rcnn.detections import suppress


def overlap(first, second):
    """Intersection over union of two boxes in float32, as the definition says."""
    low, high = torch.maximum(first[:2], second[:2]), torch.minimum(first[2:], second[2:])
    shared = (high - low).clamp(min=0).prod()
    return shared / ((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - shared)


def greedily(boxes, scores, threshold, groups=None):
    """Take the best box, drop those of its group that overlap it by more than the threshold, and so on."""
    groups = torch.zeros(len(boxes)) if groups is None else groups
    left, kept = scores.argsort(descending=True, stable=True).tolist(), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if groups[i] != groups[best] or not overlap(boxes[best], boxes[i]) > threshold]
    return kept


def crowd(count, side, seed):
    rng = torch.Generator().manual_seed(seed)
    centres, sides = torch.rand(count, 2, generator=rng) * side, 5 + 10 * torch.rand(count, 2, generator=rng)
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=1), torch.rand(count, generator=rng)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("block", [1, 7, 256])
def test_equals_the_greedy_definition(monkeypatch, threshold, block):
    monkeypatch.setattr(suppression, "BLOCK", block)
    boxes, scores = crowd(120, 40, seed=block)
    assert suppress(boxes, scores, threshold).tolist() == greedily(boxes, scores, threshold)


def test_comparing_in_parts_changes_nothing(monkeypatch):
    boxes, scores = crowd(90, 40, seed=1)
    whole = suppress(boxes, scores, 0.3)
    monkeypatch.setattr(suppression, "BLOCK", 8)
    monkeypatch.setattr(suppression, "COLUMNS", 5)
    assert torch.equal(suppress(boxes, scores, 0.3), whole)


def test_groups_do_not_suppress_each_other():
    boxes, scores = crowd(90, 30, seed=2)
    groups = torch.arange(90) % 3
    assert suppress(boxes, scores, 0.3, groups).tolist() == greedily(boxes, scores, 0.3, groups)


def test_a_suppressed_box_suppresses_nothing():
    boxes = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10], [12, 0, 22, 10]])
    assert suppress(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.4).tolist() == [0, 2]


def test_a_long_chain_is_decided_from_its_start():
    starts = torch.arange(300.0) * 4
    boxes = torch.stack([starts, torch.zeros(300), starts + 10, torch.full((300,), 10.0)], dim=1)
    assert suppress(boxes, torch.linspace(1, 0, 300), 0.4).tolist() == list(range(0, 300, 2))


def test_overlap_of_exactly_the_threshold_is_allowed():
    boxes = torch.tensor([[0.0, 0, 2, 1], [1, 0, 2, 1]])
    assert suppress(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]


def test_of_equal_scores_the_first_is_kept():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10]])
    assert suppress(boxes, torch.tensor([0.5, 0.5]), 0.5).tolist() == [0]


def test_boxes_without_area_are_kept():
    assert suppress(torch.zeros(2, 4), torch.tensor([0.5, 0.6]), 0.5).tolist() == [1, 0]


def test_no_box_keeps_none():
    assert suppress(torch.zeros(0, 4), torch.zeros(0), 0.5, torch.zeros(0, dtype=torch.long)).tolist() == []
