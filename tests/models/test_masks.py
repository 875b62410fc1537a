"""Masks pasted back into the image, and overlapping masks made labels."""

import pytest
import torch
from torch.nn import functional

from napari_tessera.models.mask_rcnn import masks as mask_pasting
from napari_tessera.models.mask_rcnn.masks import paint_labels, paste_masks


def pasted_by_definition(mask, box, shape):
    """Add a rim of zeros, widen the box by as much, round it towards 0, and stretch the mask over its pixels."""
    padded = functional.pad(mask, (1, 1, 1, 1))
    growth = padded.shape[-1] / mask.shape[-1]
    x0, y0, x1, y1 = box.tolist()
    half_width, half_height = (x1 - x0) / 2 * growth, (y1 - y0) / 2 * growth
    left, right = int((x0 + x1) / 2 - half_width), int((x0 + x1) / 2 + half_width)
    top, bottom = int((y0 + y1) / 2 - half_height), int((y0 + y1) / 2 + half_height)
    size = (max(bottom - top + 1, 1), max(right - left + 1, 1))
    stretched = functional.interpolate(padded[None, None], size=size, mode="bilinear")[0, 0]
    whole = torch.zeros(shape)
    height, width = shape
    rows, columns = slice(max(top, 0), min(bottom + 1, height)), slice(max(left, 0), min(right + 1, width))
    whole[rows, columns] = stretched[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return whole


BOXES = torch.tensor(
    [[3.2, 4.7, 20.1, 11.9], [0.0, 0, 40, 30], [-3.4, -2, 8, 9], [30.5, 22.2, 45, 37], [10.0, 10, 10.3, 10.2]]
)


def test_pasting_equals_its_definition():
    torch.manual_seed(0)
    masks = torch.rand(len(BOXES), 28, 28)
    for found, mask, box in zip(paste_masks(masks, BOXES, (30, 40)), masks, BOXES, strict=True):
        torch.testing.assert_close(found, pasted_by_definition(mask, box, (30, 40)), atol=1e-5, rtol=0)


def test_painting_is_pasting_above_the_level():
    torch.manual_seed(0)
    masks = torch.rand(len(BOXES), 28, 28)
    for number in range(len(BOXES)):
        one = slice(number, number + 1)
        pasted = paste_masks(masks[one], BOXES[one], (30, 40))[0]
        assert torch.equal(paint_labels(masks[one], BOXES[one], (30, 40)).labels, (pasted > 0.5).long())


def full(count):
    return torch.ones(count, 8, 8)


def test_aligned_full_mask_fills_the_pixels_of_its_box():
    labels = paint_labels(full(1), torch.tensor([[3.0, 1, 6, 5]]), (6, 8), is_aligned=True).labels
    wanted = torch.zeros(6, 8, dtype=torch.long)
    wanted[1:5, 3:6] = 1
    assert torch.equal(labels, wanted)


def test_shared_pixels_go_to_the_higher_score():
    boxes = torch.tensor([[0.0, 0, 4, 1], [2, 0, 6, 1]])
    painted = paint_labels(full(2), boxes, (1, 7), is_aligned=True)
    assert painted.labels.tolist() == [[1, 1, 1, 1, 2, 2, 0]]
    assert painted.claimed_px.tolist() == [4, 4]
    assert painted.lost_px.tolist() == [0, 2]


@pytest.mark.parametrize("is_aligned", [False, True])
def test_painting_in_parts_changes_nothing(monkeypatch, is_aligned):
    torch.manual_seed(0)
    masks = torch.rand(len(BOXES), 28, 28)
    whole = paint_labels(masks, BOXES, (30, 40), is_aligned=is_aligned)
    monkeypatch.setattr(mask_pasting, "PIXELS_AT_ONCE", 300)
    parts = paint_labels(masks, BOXES, (30, 40), is_aligned=is_aligned)
    assert torch.equal(parts.labels, whole.labels)
    assert torch.equal(parts.lost_px, whole.lost_px)


def test_no_mask_paints_nothing():
    painted = paint_labels(torch.zeros(0, 28, 28), torch.zeros(0, 4), (3, 3))
    assert not painted.labels.any()
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (3, 3)).shape == (0, 3, 3)
