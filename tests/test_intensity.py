"""What a network sees of an image."""

import numpy as np
import pytest

from napari_tessera.nn.intensity import Levels, measure_levels, network_channels


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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_types_that_models_were_trained_on_are_scaled_in_float32(dtype):
    image = np.random.default_rng(0).integers(0, 255, (40, 40)).astype(dtype)
    levels = measure_levels(image)
    low, middle, high = np.percentile(image, [0.5, 50, 99.8]).tolist()
    expected = (image.astype(np.float32) - low) / np.float32(high - low)
    assert (levels.low, levels.high, levels.inverted) == (low, high, middle - low > 0.4 * (high - low))
    np.testing.assert_array_equal(
        network_channels(image, Levels(low, high))[0], np.clip(expected, -0.5, 2).astype(np.float32)
    )
