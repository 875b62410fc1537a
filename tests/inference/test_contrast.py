"""How much detections stand out from the ground around them."""

import numpy as np
import pytest
import torch

from napari_tessera.inference.normalization import measure_levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.rescore_detections import contrasts, noise_of, without_noise
from napari_tessera.inference.tiled_detection import beside_each_other
from napari_tessera.models.mask_rcnn.detections import Detections


def discs(side=96, ground=0.1):
    """A bright and a dim disc, 24 pixels wide, on a ground: channels, boxes and masks."""
    y, x = np.mgrid[:side, :side] + 0.5
    image = np.full((side, side), ground, np.float32)
    image[(y - 24) ** 2 + (x - 24) ** 2 < 144] = 0.9
    image[(y - 70) ** 2 + (x - 66) ** 2 < 144] = 0.3
    boxes = torch.tensor([[12.0, 12, 36, 36], [54, 58, 78, 82]])
    p, q = (np.mgrid[:28, :28] + 0.5) / 28 - 0.5
    masks = torch.from_numpy(np.float32(p**2 + q**2 < 0.25)).expand(2, 28, 28)
    return torch.from_numpy(np.stack([image] * 3 + [0 * image] * 2)), boxes, masks


def detections(contrast, scores=(0.9, 0.8)):
    _, boxes, masks = discs()
    return Detections(boxes, torch.tensor([1, 1]), torch.tensor(scores), masks, contrast=contrast)


@pytest.mark.parametrize("ground", [0.0, 0.1, 0.25])
def test_brightness_is_measured_above_the_ground(ground):
    assert contrasts(*discs(ground=ground)).tolist() == pytest.approx([0.9 - ground, 0.3 - ground], abs=0.03)


def test_a_neighbour_in_the_box_is_not_the_ground():
    image, boxes, masks = discs()
    alone = contrasts(image, boxes, masks)
    image[:3, 36:46, 10:40] = 2.0
    assert contrasts(image, boxes, masks)[0] == pytest.approx(float(alone[0]), abs=0.03)


def test_a_box_at_the_edge_and_a_mask_that_fills_or_leaves_its_box_are_measured():
    image, _, _ = discs()
    boxes = torch.tensor([[-5.0, -5, 10, 10], [80, 80, 96, 96], [0, 0, 0.2, 0.1]])
    masks = torch.stack([torch.ones(28, 28), torch.zeros(28, 28), torch.ones(28, 28)])
    assert torch.isfinite(contrasts(image, boxes, masks)).all()


def test_nothing_found_has_no_contrast():
    image, boxes, masks = discs()
    assert len(contrasts(image, boxes[:0], masks[:0])) == 0


def test_parts_of_an_image_keep_their_contrast():
    one = detections(torch.tensor([0.8, 0.2]))
    assert beside_each_other([one, one]).contrast.tolist() == pytest.approx([0.8, 0.2] * 2)
    assert one.chosen(torch.tensor([1])).contrast.tolist() == pytest.approx([0.2])
    assert beside_each_other([one, detections(None)]).contrast is None


def noisy(noise, height, side=200):
    """A view of a noisy field with one object, 20 pixels wide."""
    field = np.random.default_rng(0).normal(100, noise, (side, side))
    field[90:110, 90:110] += height
    return NormalizedImage(field, measure_levels(field), False, (1.0, 1.0))


def test_noise_is_measured_whatever_lies_in_the_image():
    view = noisy(4.0, 400.0)
    assert noise_of(view) * (view.levels.high - view.levels.low) == pytest.approx(4.0, rel=0.1)
    assert noise_of(NormalizedImage(np.full((5, 1), 7), measure_levels(np.full((5, 1), 7)), False, (1.0, 1.0))) == 0


def test_what_is_no_brighter_than_noise_may_be_is_left_out():
    contrast = torch.tensor([0.8, 0.02])  # the discs have some 450 pixels
    found = without_noise(detections(contrast), noise=0.05)
    assert found.scores.tolist() == pytest.approx([0.9])
    assert len(without_noise(detections(contrast), noise=0.005).scores) == 2
    assert len(without_noise(detections(None), noise=0.05).scores) == 2


def test_a_dim_object_among_bright_ones_is_kept():
    found = without_noise(detections(torch.tensor([-0.4, -0.01])), noise=0.05)
    assert found.scores.tolist() == pytest.approx([0.9])
    assert len(without_noise(detections(torch.tensor([-0.4, 0.0])), noise=0.0).scores) == 2
