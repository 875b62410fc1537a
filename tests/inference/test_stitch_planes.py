"""Objects of planes linked into objects of a volume."""

import numpy as np

from napari_tessera.core.jobs import run_job
from napari_tessera.inference.segment_unet import stitch_planes


def stitched(*rows, overlap=0.25, min_size=0):
    """Stitch planes of one row each."""
    return run_job(stitch_planes(np.array(rows, np.int32)[:, None], overlap, min_size))[:, 0].tolist()


def test_objects_that_lie_over_each_other_are_one():
    assert stitched([1, 1, 0, 2], [2, 2, 0, 1]) == [[1, 1, 0, 2], [1, 1, 0, 2]]


def test_objects_that_hardly_overlap_are_two():
    assert stitched([1, 1, 1, 0, 0], [0, 0, 1, 1, 1]) == [[1, 1, 1, 0, 0], [0, 0, 2, 2, 2]]
    assert stitched([1, 1, 1, 0, 0], [0, 0, 1, 1, 1], overlap=0) == [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]


def test_an_object_goes_on_in_the_one_that_it_overlaps_most():
    assert stitched([1, 1, 1, 1, 1], [1, 1, 2, 2, 2]) == [[1, 1, 1, 1, 1], [2, 2, 1, 1, 1]]


def test_two_objects_do_not_become_one():
    assert stitched([1, 1, 2, 2], [1, 1, 1, 1]) == [[1, 1, 2, 2], [1, 1, 1, 1]]


def test_an_object_missed_in_one_plane_is_found_again_and_the_gap_is_filled():
    assert stitched([1, 1, 0], [0, 0, 0], [0, 1, 0], overlap=0.5) == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_an_object_missed_in_two_planes_is_a_new_one():
    assert stitched([1, 1], [0, 0], [0, 0], [1, 1]) == [[1, 1], [0, 0], [0, 0], [2, 2]]


def test_an_object_that_went_on_is_not_continued_over_a_gap():
    assert stitched([1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 1], overlap=0.2)[2] == [0, 0, 0, 2]


def test_gaps_are_filled_around_other_objects():
    assert stitched([1, 1, 1], [0, 0, 1], [1, 1, 1], overlap=0.5)[1] == [1, 1, 2]


def test_small_objects_are_dropped_by_their_voxels():
    assert stitched([1, 0, 2], [1, 0, 0], min_size=2) == [[1, 0, 0], [1, 0, 0]]


def test_a_single_plane_keeps_its_objects():
    assert stitched([2, 0, 1]) == [[1, 0, 2]]
