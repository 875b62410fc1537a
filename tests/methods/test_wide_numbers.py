"""Numbers that float32 does not hold: the U-Net sees their differences, whatever their offset or size."""

import numpy as np
import pytest

import napari_tessera as tessera
from tests.helpers.tiny_models import save_bright


def two_squares():
    """A square on the left and a larger one on the right, on black."""
    plane = np.zeros((24, 40), np.uint8)
    plane[4:14, 4:14] = plane[8:20, 22:34] = 200
    return plane


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """A model that finds what is bright, of objects 10 px wide."""
    return str(save_bright(tmp_path_factory.mktemp("models") / "bright.safetensors", task="objects", diameter_px=10.0))


@pytest.fixture(scope="module")
def two_channels(tmp_path_factory):
    """A model for images of two channels, that looks at the first one."""
    fields = {"normalisation": {"kind": "channels"}, "channels": ["DNA", "actin"], "diameter_px": 10.0}
    path = tmp_path_factory.mktemp("models") / "two.safetensors"
    return str(save_bright(path, n_channels=2, task="objects", **fields))


WIDE = {
    "float64 + 1e12": lambda plane: plane + 1e12,
    "float64 × 1e300": lambda plane: plane * 1e300,
    "float64 × 1e-310": lambda plane: plane * 1e-310,
    "uint64 + 2**60": lambda plane: plane.astype(np.uint64) + np.uint64(2**60),
    "int64 - 2**60": lambda plane: plane.astype(np.int64) - 2**60,
    "uint32 + 4e9": lambda plane: plane.astype(np.uint32) + np.uint32(4_000_000_000),
    "whole range of int64": lambda plane: np.where(plane > 0, np.iinfo(np.int64).max, np.iinfo(np.int64).min),
    "whole range of float64": lambda plane: np.where(plane > 0, 1.7e308, -1.7e308),
}


@pytest.mark.parametrize("change", WIDE.values(), ids=WIDE)
@pytest.mark.parametrize("blocks", [False, 32])
def test_wide_numbers_keep_their_differences(bright, change, blocks):
    image = two_squares()
    found = tessera.segment("unet", change(image), model=bright, diameter=10, blocks=blocks).labels
    np.testing.assert_array_equal(found > 0, image > 0)


@pytest.mark.parametrize("change", WIDE.values(), ids=WIDE)
def test_channels_of_wide_numbers_keep_their_differences(two_channels, change):
    image = change(np.stack([two_squares(), two_squares()[::-1]], axis=-1))
    found = tessera.segment("unet", image, axes="YXC", model=two_channels, diameter=10).labels
    np.testing.assert_array_equal(found > 0, two_squares() > 0)
