"""Peaks of a landscape, and basins that belong together."""

import numpy as np
import pytest

from napari_tessera.algorithms.watershed import find_peaks
from napari_tessera.core.jobs import run_job


def peaks(heights, min_distance=1.0, regions=None, spacing=None):
    height = np.array(heights, np.float32)
    regions = np.ones(height.shape, np.int32) if regions is None else np.array(regions)
    return run_job(find_peaks(height, regions, min_distance, spacing)).tolist()


def test_each_local_maximum_is_a_peak():
    assert peaks([[1, 3, 1, 2, 1]]) == [[0, 1], [0, 3]]


def test_lower_of_two_near_peaks_is_dropped():
    assert peaks([[1, 3, 1, 2, 1]], min_distance=2) == [[0, 1]]


def test_peaks_of_different_regions_do_not_compete():
    assert peaks([[1, 3, 0, 2, 1]], min_distance=4, regions=[[1, 1, 0, 2, 2]]) == [[0, 1], [0, 3]]


def test_plateau_has_one_peak():
    assert peaks([[1, 2, 2, 2, 2, 1]]) == [[0, 1]]


def test_diagonal_neighbour_counts_at_any_distance():
    assert peaks([[2, 0], [0, 3]], min_distance=0) == [[1, 1]]


def test_there_are_no_peaks_outside_the_regions():
    assert peaks([[9, 1, 2]], regions=[[0, 1, 1]]) == [[0, 2]]


def test_every_region_has_a_peak_even_of_height_0():
    assert peaks([[0, 0]]) == [[0, 0]]


@pytest.mark.parametrize(("spacing", "found"), [(None, 1), ((4.0, 1.0, 1.0), 2)])
def test_distance_between_planes_follows_the_spacing(spacing, found):
    heights = np.zeros((3, 3, 3))
    heights[0, 1, 1], heights[2, 1, 1] = 3, 2
    regions = np.zeros((3, 3, 3), int)
    regions[:, 1, 1] = 1
    assert len(peaks(heights, min_distance=3, regions=regions, spacing=spacing)) == found
