"""Flooding by levels, with a line, compactly; merging basins."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import watershed as skimage_watershed

from napari_tessera.algorithms import flooding
from napari_tessera.algorithms.flooding import flood, flood_compactly, seeds_from, steps_to_neighbours
from napari_tessera.algorithms.watershed import merged_basins, number_regions, without_frame
from napari_tessera.core.jobs import run_job


def flooded(levels, markers, mask=None, connectivity=1, line=False, compactness=0.0, spacing=None):
    """Flood small arrays without a frame."""
    levels, markers = np.array(levels, np.uint16), np.array(markers, np.int32)
    labels = number_regions(np.ones(levels.shape, bool) if mask is None else np.array(mask, bool), connectivity)
    framed = np.pad(markers, 1).reshape(-1)
    seeds = seeds_from(labels, np.flatnonzero(framed), framed[framed > 0])
    if compactness:
        run_job(flood_compactly(labels, np.pad(levels, 1), seeds, compactness, connectivity, line, spacing))
    else:
        run_job(flood(labels, np.pad(levels, 1), seeds, connectivity, line))
    return np.maximum(without_frame(labels), 0)


def test_two_floods_meet_at_the_ridge():
    assert flooded([[0, 1, 5, 1, 1, 0]], [[1, 0, 0, 0, 0, 2]]).tolist() == [[1, 1, 1, 2, 2, 2]]


def test_even_ground_is_shared_half_and_half():
    assert flooded([[1, 1, 1, 1, 1, 1]], [[1, 0, 0, 0, 0, 2]]).tolist() == [[1, 1, 1, 2, 2, 2]]


def test_region_without_a_marker_stays_empty():
    assert flooded([[1, 1, 1, 1]], [[1, 0, 0, 0]], mask=[[1, 1, 0, 1]]).tolist() == [[1, 1, 0, 0]]


def test_marker_outside_the_mask_has_no_effect():
    assert flooded([[1, 1, 1]], [[1, 0, 2]], mask=[[0, 1, 1]]).tolist() == [[0, 2, 2]]


@pytest.mark.parametrize(("connectivity", "corner"), [(1, 0), (2, 1)])
def test_corners_are_crossed_with_connectivity_2_only(connectivity, corner):
    labels = flooded([[1, 1], [1, 1]], [[1, 0], [0, 0]], mask=[[1, 0], [0, 1]], connectivity=connectivity)
    assert labels[1, 1] == corner


def test_marker_may_be_painted_in_several_places():
    assert flooded([[1, 1, 9, 1, 1, 1]], [[3, 0, 0, 0, 2, 3]]).tolist() == [[3, 3, 3, 2, 2, 3]]


def test_watershed_line_parts_objects():
    assert flooded([[0, 1, 5, 1, 0]], [[1, 0, 0, 0, 2]], line=True).tolist() == [[1, 1, 0, 2, 2]]


def test_objects_never_touch_across_a_watershed_line():
    levels = np.random.default_rng(0).integers(0, 50, (40, 40))
    markers = np.zeros((40, 40), int)
    markers[::8, ::8] = np.arange(1, 26).reshape(5, 5)
    labels = flooded(levels, markers, line=True)
    for axis in (0, 1):
        here, there = np.moveaxis(labels, axis, 0)[1:], np.moveaxis(labels, axis, 0)[:-1]
        assert not ((here != there) & (here > 0) & (there > 0)).any()


def random_hills(shape, count):
    """Pairs of levels without ties and a marker of level 0 in each valley, with no two valleys next to each other."""
    rng = np.random.default_rng(0)
    while count:
        noise = ndimage.gaussian_filter(rng.random(shape), 2)
        levels = noise.ravel().argsort().argsort().reshape(shape) + 1
        is_valley = ndimage.minimum_filter(levels, 3) == levels
        if ((ndimage.minimum_filter(levels, 5) == levels) == is_valley).all() and is_valley.sum() > 1:
            markers = np.zeros(shape, int)
            markers[is_valley] = np.arange(1, is_valley.sum() + 1)
            count -= 1
            yield np.where(is_valley, 0, levels), markers


@pytest.mark.parametrize("shape", [(25, 30), (9, 10, 11)])
def test_flood_is_that_of_scikit_image_where_there_are_no_ties(shape):
    for levels, markers in random_hills(shape, 5):
        expected = skimage_watershed(levels, markers, connectivity=len(shape))
        np.testing.assert_array_equal(flooded(levels, markers, connectivity=len(shape)), expected)


def test_flood_in_tiny_slices_is_the_same(monkeypatch):
    ((levels, markers),) = random_hills((25, 30), 1)
    at_once = flooded(levels, markers)
    monkeypatch.setattr(flooding, "PIXELS_PER_SLICE", 7)
    np.testing.assert_array_equal(flooded(levels, markers), at_once)


def test_compact_flood_gives_even_ground_to_the_nearest_marker():
    markers = np.zeros((9, 9), int)
    markers[1, 1], markers[7, 4] = 1, 2
    rows, columns = np.indices(markers.shape)
    to_first, to_second = np.hypot(rows - 1, columns - 1), np.hypot(rows - 7, columns - 4)
    labels = flooded(np.ones((9, 9)), markers, connectivity=2, compactness=10.0)
    is_clear = np.abs(to_first - to_second) > 1e-6
    np.testing.assert_array_equal(labels[is_clear], np.where(to_first < to_second, 1, 2)[is_clear])


def test_compact_flood_measures_with_the_spacing():
    markers = np.zeros((7, 7), int)
    markers[3, 1], markers[0, 4] = 1, 2  # 3 px along x, 9 along y: (3, 4) is nearer to the first
    assert flooded(np.ones((7, 7)), markers, compactness=10.0, spacing=(3.0, 1.0))[3, 4] == 1


def test_little_compactness_follows_the_ridge():
    levels = [[0, 1, 1, 1, 1, 90, 0]]
    assert flooded(levels, [[1, 0, 0, 0, 0, 0, 2]], compactness=0.1).tolist() == [[1, 1, 1, 1, 1, 2, 2]]


@pytest.mark.parametrize(("prominence", "expected"), [(0.1, [1, 2]), (0.5, [1, 1])])
def test_basins_merge_where_the_pass_is_a_small_part_of_the_height(prominence, expected):
    levels = np.pad(np.array([[0, 30, 10, 99]], np.uint16), 1)  # heights 100, 70, 90: 22 % below the lower top
    labels = np.pad(np.array([[1, 1, 2, 2]], np.int32), 1)
    steps = steps_to_neighbours(labels.shape, 1)
    peaks = np.array([0, 0, 10])
    owners = run_job(merged_basins(labels, levels, peaks, steps, prominence * (100 - peaks)))
    assert owners[1:].tolist() == expected


def test_basin_merges_into_the_higher_top_over_a_chain():
    levels = np.pad(np.array([[0, 21, 20, 31, 30]], np.uint16), 1)
    labels = np.pad(np.array([[1, 2, 2, 3, 3]], np.int32), 1)
    steps = steps_to_neighbours(labels.shape, 1)
    owners = run_job(merged_basins(labels, levels, np.array([0, 0, 20, 30]), steps, np.full(4, 7.0)))
    assert owners[1:].tolist() == [1, 1, 1]
