"""Samples: the same every time, with truth, and never downloaded."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from napari_tessera.core.errors import ParameterError
from napari_tessera.io import read_image, read_labels
from napari_tessera.sample_data import (
    SAMPLES,
    microscope_volume,
    nuclei_2d,
    nuclei_3d,
    sample_named,
    time_series,
    two_channels,
    write_samples,
)

SYNTHETIC = [entry for entry in SAMPLES if not entry.is_real]
FOLDER = Path(__file__).parents[1] / "sample_data"


@pytest.mark.parametrize("entry", SAMPLES, ids=lambda entry: entry.name)
def test_axes_and_placement_fit_the_image(entry):
    sample = entry.load()
    assert len(sample.axes) == sample.image.ndim
    assert sample.spatial.axes == sample.axes.replace("C", "")


@pytest.mark.parametrize("entry", SYNTHETIC, ids=lambda entry: entry.name)
def test_truth_has_the_shape_of_the_image_without_channels(entry):
    sample = entry.load()
    shape = dict(zip(sample.axes, sample.image.shape, strict=True))
    assert sample.truth.shape == tuple(shape[axis] for axis in sample.spatial.axes)


@pytest.mark.parametrize("make", [nuclei_2d, nuclei_3d, time_series, two_channels, partial(microscope_volume, side=48)])
def test_same_seed_gives_the_same_image(make):
    np.testing.assert_array_equal(make(seed=3).image, make(seed=3).image)


def test_another_seed_gives_another_image():
    assert (nuclei_2d(seed=1).image != nuclei_2d(seed=2).image).any()


def test_nuclei_are_brighter_than_the_background():
    image, truth, *_ = nuclei_2d()
    assert np.median(image[truth > 0]) > 1.5 * np.median(image[truth == 0])


def test_nuclei_in_3d_touch():
    truth = nuclei_3d().truth
    left, right = truth[..., :-1], truth[..., 1:]
    assert ((left != right) & (left > 0) & (right > 0)).any()


def test_voxels_in_3d_are_anisotropic():
    spacing = nuclei_3d().spatial.spacing
    assert spacing[0] > 2 * spacing[1]


def test_dividing_nuclei_add_numbers():
    truth = time_series().truth
    assert truth[-1].max() > truth[0].max()


def test_nucleus_keeps_its_number_in_time():
    first, second = time_series().truth[:2]
    both = (first > 0) & (second > 0)
    assert (first[both] == second[both]).mean() > 0.9


@pytest.fixture(scope="module")
def volumes():
    return [microscope_volume(seed, side=48) for seed in range(12)]


def test_volumes_of_many_microscopes_have_nuclei_brighter_than_the_rest(volumes):
    for image, truth, *_ in volumes:
        assert truth.max() >= 2
        assert image[truth > 0].mean() > image[truth == 0].mean()


def test_volumes_of_many_microscopes_differ_in_shape_of_voxels_size_of_nuclei_and_noise(volumes):
    deepness = [sample.spatial.anisotropy for sample in volumes]
    assert min(deepness) == 1
    assert 2.5 < max(deepness) <= 5
    sizes = [np.median(np.bincount(truth.ravel())[1:]) * each.anisotropy for _, truth, each, _ in volumes]
    assert max(sizes) > 5 * min(sizes)
    noise = [np.abs(np.diff(image.astype(float))).mean() / np.ptp(image) for image, *_ in volumes]
    assert max(noise) > 3 * min(noise)


def test_unknown_sample_lists_the_known():
    with pytest.raises(ParameterError, match="There are: coins, cell"):
        sample_named("unicorn")


def test_real_samples_need_no_network():
    program = """
import socket, sys
def refuse(*_, **__):
    raise AssertionError("the network was asked")
socket.socket.connect = refuse
sys.modules["pooch"] = None
from napari_tessera.sample_data import real_samples
names = [entry.name for entry in real_samples() if entry.load().image.size]
assert names == ["coins", "cell", "immunohistochemistry", "haematoxylin", "retina", "microaneurysms"], names
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("entry", SYNTHETIC, ids=lambda entry: entry.name)
def test_sample_data_says_where_it_lies(entry):
    sample, picture = entry.load(), read_image(FOLDER / f"{entry.name}.tif")
    np.testing.assert_allclose(picture.spatial.scale, sample.spatial.scale, rtol=1e-6)
    assert (picture.axes, picture.spatial.units) == (sample.axes, sample.spatial.units)


@pytest.mark.parametrize("entry", SYNTHETIC, ids=lambda entry: entry.name)
def test_sample_data_is_what_the_seed_gives(entry):
    """Another processor may round differently, which changes a few pixels."""
    kept = read_labels(FOLDER / f"{entry.name}_truth.tif").data
    assert np.mean((kept > 0) == (entry.load().truth > 0)) > 0.99


def test_written_samples_stay_small(tmp_path):
    assert sum(path.stat().st_size for path in write_samples(tmp_path)) < 2e6
