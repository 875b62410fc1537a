"""Superpixels, on images whose regions are known."""

from __future__ import annotations

import time

import numpy as np
import pytest
from skimage.segmentation import slic

import napari_tessera as tessera
from napari_tessera.algorithms.label_morphology import merge_similar
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.labels import renumber
from napari_tessera.engine import api
from napari_tessera.methods import superpixels as module

SIDE = 120
RNG_SEED = 3
SECONDS_TO_CANCEL = 0.5


def quarters() -> np.ndarray:
    """Four colours in four quarters, (Y, X, 3)."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[: SIDE // 2, : SIDE // 2] = 200, 30, 30
    image[: SIDE // 2, SIDE // 2 :] = 30, 200, 30
    image[SIDE // 2 :, : SIDE // 2] = 30, 30, 200
    image[SIDE // 2 :, SIDE // 2 :] = 220, 220, 220
    return image


def four_regions() -> np.ndarray:
    half = SIDE // 2
    return np.kron([[1, 2], [3, 4]], np.ones((half, half), np.int32))


def smooth_noise(shape: tuple[int, ...]) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.random.default_rng(RNG_SEED).random(shape), 3).astype(np.float32)


def two_textures() -> np.ndarray:
    """Stripes of one pixel on the left, of eight on the right: equal in mean and in variance of all pixels."""
    x = np.arange(SIDE)
    row = np.where(x < SIDE // 2, np.where(x // 1 % 2, 160, 96), np.where(x // 8 % 2, 160, 96))
    return np.broadcast_to(row, (SIDE, SIDE)).astype(np.uint8)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("compactness", [1.0, 10.0, 40.0])
def test_labels_of_a_colour_image_are_those_of_scikit_image(compactness):
    image = quarters()
    expected = renumber(slic(image, n_segments=100, compactness=compactness, start_label=1).astype(np.int32))
    found = tessera.superpixels(image, n_segments=100, compactness=compactness)
    np.testing.assert_array_equal(found, expected)


def test_labels_of_a_volume_are_those_of_scikit_image_with_its_spacing():
    volume = smooth_noise((12, 40, 40))
    expected = slic(volume, n_segments=60, compactness=0.1, spacing=(3, 1, 1), sigma=1, channel_axis=None)
    found = tessera.superpixels(volume, n_segments=60, compactness=10, sigma=1, spacing=(3, 1, 1))
    np.testing.assert_array_equal(found, renumber(expected.astype(np.int32)))


def test_a_small_image_gives_in_this_process_what_a_child_process_gives(monkeypatch):
    image = smooth_noise((40, 40))
    here = tessera.superpixels(image, n_segments=20)
    monkeypatch.setattr(module, "SMALL_VALUES", 0)
    np.testing.assert_array_equal(tessera.superpixels(image, n_segments=20), here)


def test_more_segments_are_smaller():
    image = smooth_noise((80, 80))
    few, many = (tessera.superpixels(image, n_segments=number).max() for number in (20, 200))
    assert 0.5 * 20 <= few <= 1.5 * 20
    assert 0.5 * 200 <= many <= 1.5 * 200


def test_superpixels_of_one_colour_are_merged():
    np.testing.assert_array_equal(tessera.superpixels(quarters(), merge=True, texture_weight=0), four_regions())


def test_nothing_is_merged_at_a_threshold_of_zero():
    image = quarters()
    merged = tessera.superpixels(image, merge=True, merge_threshold=0)
    np.testing.assert_array_equal(merged, tessera.superpixels(image))


def test_regions_of_equal_colour_are_told_apart_by_their_texture():
    is_left = np.arange(SIDE)[None, :].repeat(SIDE, axis=0) < SIDE // 2
    how = {"n_segments": 60, "compactness": 200, "merge": True, "texture_radius": 2}
    labels = tessera.superpixels(two_textures(), merge_threshold=18, texture_weight=3, **how)
    for side in (is_left, ~is_left):
        best = np.bincount(labels[side]).argmax()
        assert dice(labels == best, side) > 0.8


def test_channels_that_are_no_colours_are_compared_as_they_are():
    image = np.zeros((2, 20, 20), np.uint16)
    image[0, :, :10] = 1000
    image[1, :, 10:] = 1000
    labels = tessera.segment("superpixels", image, axes="CYX", merge=True, texture_weight=0).labels
    np.testing.assert_array_equal(labels, np.where(np.arange(20) < 10, 1, 2) * np.ones((20, 1), int))


def test_cielab_needs_colours():
    with pytest.raises(InputError, match=r"1 channel.*\"channels\" or \"intensity\""):
        tessera.superpixels(smooth_noise((20, 20)), features="cielab")


def test_an_offset_and_a_factor_change_nothing():
    image = (smooth_noise((60, 60)) * 1000).astype(np.int64)
    np.testing.assert_array_equal(tessera.superpixels(image), tessera.superpixels(image * 3 + 2**40))


def test_the_most_similar_regions_are_merged_first():
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    means = np.array([[0.0], [4.0], [7.0], [20.0]])
    owners = merge_similar(pairs, np.array([1, 1, 3, 1]), means, 6.0)  # 4 and 7 become 6.25, which 0 is too far from
    assert owners.tolist() == [0, 1, 1, 3]


def test_regions_merge_over_pairs_that_they_got_by_merging():
    ring = np.array([[0, 1], [0, 2], [1, 3], [2, 3]])
    owners = merge_similar(ring, np.ones(4, int), np.array([[0.0], [1.0], [2.5], [9.0]]), 5.0)
    assert len(set(owners[:3])) == 1
    assert owners[3] == 3


def test_progress_goes_on_while_superpixels_are_found():
    shares = []
    run_job(
        module.superpixels(smooth_noise((400, 400)), n_segments=500, max_num_iter=60),
        lambda step: shares.append(step.done / step.total),
    )
    assert shares == sorted(shares)
    assert len({share for share in shares if 0.1 < share < 0.6}) >= 3


def test_cancelling_ends_a_long_run_at_once():
    job = api.job(api.bind("superpixels", smooth_noise((1500, 1500)), n_segments=5000, max_num_iter=100))
    until = time.monotonic() + 4
    while time.monotonic() < until:
        next(job)
    before = time.monotonic()
    job.close()
    assert time.monotonic() - before < SECONDS_TO_CANCEL
