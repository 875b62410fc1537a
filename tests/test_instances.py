"""Objects from pixel scores, scale, and what a network sees of an image."""

import numpy as np
import pytest
import torch

from napari_tessera.large.instances import InstanceModel, bounded, look, seen_diameter, segment_instances
from napari_tessera.large.objects import Decoding, find_objects
from napari_tessera.nn.forward import padded_forward, predict_scores, to_image_grid
from napari_tessera.nn.intensity import CHANNELS, Levels, measure_levels, network_channels
from napari_tessera.nn.scores import PixelScores
from napari_tessera.nn.unet import Architecture, UNet
from napari_tessera.train.examples import painted_objects
from napari_tessera.train.targets import HEADS, instance_targets


def perfect_scores(labels, diameter_px=12.0):
    """Say of each pixel what a network would that had learnt everything."""
    targets = instance_targets(labels + 1, diameter_px)
    border = (targets.classes == 3).astype(np.float32)
    return PixelScores((labels > 0).astype(np.float32), border, targets.distance, targets.size)


def two_touching_discs():
    y, x = np.mgrid[:24, :32]
    labels = np.zeros((24, 32), dtype=np.int32)
    labels[(y - 12) ** 2 + (x - 10) ** 2 < 36] = 1
    labels[((y - 12) ** 2 + (x - 21) ** 2 < 36) & (labels == 0)] = 2
    return labels


def test_touching_discs_are_two_objects():
    labels = two_touching_discs()
    found = find_objects(perfect_scores(labels), 12, Decoding())
    assert found.dtype == np.int32
    assert (found == labels).mean() > 0.98


def test_nothing_said_is_nothing_found():
    empty = np.zeros((8, 8), dtype=np.int32)
    assert find_objects(perfect_scores(empty), 12, Decoding()).max() == 0


def test_specks_are_dropped():
    labels = two_touching_discs()
    labels[0, 0] = 3
    assert find_objects(perfect_scores(labels), 12, Decoding()).max() == 2


def test_labels_come_back_to_the_image_with_the_outline_of_the_probability():
    labels = two_touching_discs()
    halved = perfect_scores(labels[::2, ::2].copy())
    back = to_image_grid(labels[::2, ::2], halved, labels.shape, 0.5)
    assert back.shape == labels.shape
    assert (back == labels).mean() > 0.93


def test_seen_diameter_is_that_of_the_objects():
    labels = two_touching_discs()
    assert seen_diameter(perfect_scores(labels, 24.0), 24.0) == pytest.approx(12, abs=0.7)


def test_seen_diameter_of_nothing_is_none():
    assert seen_diameter(perfect_scores(np.zeros((8, 8), dtype=np.int32)), 24.0) is None


def test_a_huge_image_is_not_magnified():
    assert bounded(4.0, np.broadcast_to(np.float32(0), (4, 5000, 5000))) == 1.0


def net_of_seed(seed):
    torch.manual_seed(seed)
    return UNet(Architecture(CHANNELS, HEADS, widths=(4, 8))).eval()


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (17, 33)])
def test_any_size_of_image_works(shape):
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    labels = segment_instances(InstanceModel(net_of_seed(0), 24.0), image)
    assert labels.shape == shape


def test_a_given_diameter_sets_the_scale():
    channels = np.zeros((5, 40, 40), dtype=np.float32)
    scores, factor = look(InstanceModel(net_of_seed(0), 24.0), channels, diameter_px=12)
    assert factor == 2
    assert scores.object.shape == (80, 80)


def test_averaging_over_flips_makes_mirrored_images_agree():
    channels = np.random.default_rng(0).normal(size=(5, 16, 16)).astype(np.float32)
    net = net_of_seed(0)
    one = predict_scores(net, channels, 1.0, flips=True)
    mirrored = predict_scores(net, channels[..., ::-1].copy(), 1.0, flips=True)
    np.testing.assert_allclose(one.distance, mirrored.distance[:, ::-1], atol=1e-5)


def test_padding_does_not_shift_the_scores():
    images, net = torch.randn(1, CHANNELS, 40, 40), net_of_seed(0)
    assert padded_forward(net, images)["classes"].shape == (1, 3, 40, 40)
    inner = padded_forward(net, images)["classes"][..., 19:21, 19:21]
    torch.testing.assert_close(inner, net(images)["classes"][..., 19:21, 19:21])


def test_dark_objects_on_a_bright_background_are_turned():
    image = np.full((20, 20), 200, dtype=np.uint8)
    image[5:8, 5:8] = 30
    levels = measure_levels(image)
    assert levels.inverted
    channels = network_channels(image, levels)
    assert channels[0, 6, 6] == pytest.approx(1)
    assert channels[0, 0, 0] == pytest.approx(0)


def test_bright_objects_stay_bright_and_grey_fills_all_colours():
    image = np.full((20, 20), 10, dtype=np.uint16)
    image[5:8, 5:8] = 4000
    channels = network_channels(image, measure_levels(image))
    assert channels.shape == (5, 20, 20)
    assert channels[:, 6, 6] == pytest.approx([1, 1, 1, 1, 0])


def test_dim_objects_stand_out_in_the_compressed_channel():
    channels = network_channels(np.array([[0.0, 0.1, 1.0]], dtype=np.float32), Levels(0, 1))
    assert channels[0, 0].tolist() == pytest.approx([0, 0.1, 1])
    assert channels[3, 0, 1] > 0.35


def test_a_constant_image_has_finite_channels():
    image = np.full((6, 6), 7, dtype=np.uint8)
    assert np.isfinite(network_channels(image, measure_levels(image))).all()


def test_an_outline_around_another_object_counts_as_not_painted():
    labels = np.zeros((9, 9), dtype=np.int32)
    labels[1:8, 1:8], labels[2:7, 2:7] = 1, 2
    painted = painted_objects(labels)
    assert painted[1, 4] == 0
    assert painted[4, 4] == 3
    assert painted[0, 0] == 1
