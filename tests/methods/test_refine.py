import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from napari_tessera.algorithms.label_morphology import join_fragments
from napari_tessera.core.jobs import run_job
from napari_tessera.methods.refine import refine

small_labels = arrays.arrays(np.int32, (6, 7), elements=st.integers(0, 4))


def refined(labels, **parameters):
    return run_job(refine(np.asarray(labels, np.int32), **parameters))


def discs(shape, *middles_and_radii):
    places = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    for *middle, radius in middles_and_radii:
        away = sum((place - start) ** 2 for place, start in zip(places, middle, strict=True))
        labels[away <= radius**2] = 1
    return labels


RING = np.pad([[5, 5, 5], [5, 0, 5], [5, 5, 5]], 1)
DUMBBELL = discs((21, 36), (10, 10, 8), (10, 25, 8))


def test_by_default_objects_are_only_numbered_in_raster_order():
    assert refined([[7, 0, 3], [7, 2, 3]]).tolist() == [[1, 0, 2], [1, 3, 2]]


def test_numbers_may_be_kept():
    assert refined([[7, 0, 3]], renumber=False).tolist() == [[7, 0, 3]]


def test_a_hole_goes_to_the_object_around_it():
    assert (refined(RING, max_hole_size=1) == np.pad(np.ones((3, 3)), 1)).all()


def test_a_hole_larger_than_the_limit_stays():
    wide = np.pad(np.zeros((1, 2)), 1, constant_values=1)
    assert refined(wide, max_hole_size=1).tolist() == wide.tolist()


def test_a_gap_between_two_objects_is_no_hole():
    labels = [[1, 1, 2], [1, 0, 2], [1, 1, 2]]
    assert refined(labels, max_hole_size=9).tolist() == labels


def test_a_bay_at_the_images_edge_is_no_hole():
    labels = [[1, 0, 1], [1, 1, 1]]
    assert refined(labels, max_hole_size=9).tolist() == labels


def test_two_discs_that_touch_are_split_at_the_neck():
    labels = refined(DUMBBELL, split=True)
    assert labels.max() == 2
    assert (labels[:, :17] != 2).all()
    assert (labels[:, 19:] != 1).all()


def test_a_disc_is_not_split():
    assert refined(discs((21, 21), (10, 10, 8)), split=True).max() == 1


def test_splitting_leaves_no_pixel_out():
    assert ((refined(DUMBBELL, split=True) > 0) == (DUMBBELL > 0)).all()


def test_a_split_object_and_its_neighbour_stay_apart():
    labels = DUMBBELL.copy()
    labels[labels == 0] = 2
    after = refined(labels, split=True, min_distance=8.0, renumber=False)
    assert not set(np.unique(after[labels == 1])) & set(np.unique(after[labels == 2]))


def test_touching_objects_are_each_split_at_their_own_neck():
    row = DUMBBELL[2:19, 2:34]
    labels = refined(np.concatenate([row, 2 * row]), split=True)
    assert labels.max() == 4


def test_a_new_part_gets_a_number_above_the_largest():
    labels = refined(np.where(DUMBBELL, 6, 0), split=True, renumber=False)
    assert np.unique(labels).tolist() == [0, 6, 7]


def test_a_neck_less_prominent_than_asked_is_no_neck():
    assert refined(DUMBBELL, split=True, prominence=0.9).max() == 1


def test_splitting_respects_the_spacing():
    # Seen with voxels four times as deep as wide, the two halves lie far apart along z.
    column = discs((12, 11, 11), (3, 5, 5, 4), (9, 5, 5, 4))
    assert refined(column, split=True, min_distance=10.0).max() == 1
    assert refined(column, split=True, min_distance=10.0, spacing=(4.0, 1.0, 1.0)).max() == 2


def test_a_fragment_joins_the_neighbour_with_the_longest_border():
    labels = [[1, 1, 3, 2], [1, 1, 3, 2], [1, 1, 2, 2]]
    assert refined(labels, merge_below=3).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2]]


def test_the_length_of_a_border_respects_the_spacing():
    # The fragment 3 has one face towards 1 above it and one towards 2 beside it.
    labels = [[1, 1], [3, 2], [0, 2]]
    assert refined(labels, merge_below=2, spacing=(1.0, 3.0))[1, 0] == 1
    assert refined(labels, merge_below=2, spacing=(3.0, 1.0))[1, 0] == 2


def test_a_fragment_without_neighbours_stays():
    assert refined([[1, 0, 2, 2]], merge_below=2).tolist() == [[1, 0, 2, 2]]


def test_fragments_among_themselves_become_one_object():
    assert refined([[1, 2, 3]], merge_below=3).tolist() == [[1, 1, 1]]


def test_a_chain_of_fragments_ends_in_the_large_object():
    assert refined([[1, 2, 2, 3, 3, 3, 3]], merge_below=3).tolist() == [[1, 1, 1, 1, 1, 1, 1]]


def test_three_fragments_with_equal_borders_do_not_chase_each_other():
    first, second, border = np.array([1, 1, 2]), np.array([2, 3, 3]), np.ones(3)
    owners = join_fragments(first, second, border, np.array([0, 1, 1, 1]), smallest=9)
    assert len(set(owners[1:])) == 1


def test_smoothing_removes_a_spike():
    labels = np.pad(np.ones((5, 5)), 3)
    labels[2, 5] = 1
    after = refined(labels, smooth=2.0)
    assert after[2, 5] == 0
    assert after[5, 5] == 1


def test_smoothing_does_not_merge_objects():
    labels = np.repeat([[1, 1, 1, 2, 2, 2]], 6, axis=0)
    assert refined(labels, smooth=3.0).tolist() == labels.tolist()


def test_an_object_too_thin_to_be_smoothed_stays_as_it_is():
    line = np.pad(np.ones((1, 9), int), 3)
    assert refined(line, smooth=3.0).tolist() == line.tolist()


def test_smoothing_reaches_less_far_along_a_coarse_axis():
    # A line one pixel high, on a block: with rows nine times as far apart as columns, it is no thin spike.
    labels = np.zeros((11, 30), int)
    labels[1:10, :12] = labels[5, 12:26] = 1
    assert refined(labels, smooth=3.0)[5, 20] == 0
    assert refined(labels, smooth=3.0, spacing=(9.0, 1.0))[5, 20] == 1


def test_objects_at_the_edge_are_cleared():
    labels = np.pad([[0, 0, 0], [0, 2, 0], [0, 0, 0]], 1)
    labels[0, 1] = 1
    assert refined(labels, clear_border=True).tolist() == (labels == 2).astype(int).tolist()


def test_a_single_plane_is_not_all_edge():
    labels = np.pad([[[1]]], ((0, 0), (1, 1), (1, 1)))
    assert refined(labels, clear_border=True).tolist() == labels.tolist()


def test_size_limits_include_their_ends():
    labels = [[1, 0, 2, 2, 0, 3, 3, 3]]
    assert refined(labels, min_size=2, max_size=2).tolist() == [[0, 0, 1, 1, 0, 0, 0, 0]]


def test_the_largest_are_kept_of_equals_the_first():
    labels = [[1, 0, 2, 2, 0, 3, 3, 0, 4, 4, 4]]
    assert refined(labels, keep_largest=2).tolist() == [[0, 0, 1, 1, 0, 0, 0, 0, 2, 2, 2]]


def test_large_numbers_come_back_as_int64():
    labels = run_job(refine(np.array([[2**40, 0]]), renumber=False))
    assert labels.dtype == np.int64
    assert labels.tolist() == [[2**40, 0]]


def test_the_input_is_left_as_it_is():
    labels = DUMBBELL.copy()
    refined(
        labels, max_hole_size=5, split=True, merge_below=3, smooth=2.0, clear_border=True, min_size=5, keep_largest=1
    )
    assert (labels == DUMBBELL).all()


EVERYTHING = {
    "max_hole_size": 4,
    "split": True,
    "min_distance": 1.0,
    "merge_below": 3,
    "smooth": 1.5,
    "min_size": 2,
    "keep_largest": 3,
}


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (1, 1, 1), (3, 1, 5)])
def test_every_shape_goes_through_all_steps(shape):
    labels = np.arange(np.prod(shape)).reshape(shape) % 3
    assert refined(labels, **EVERYTHING).shape == shape


def test_an_empty_label_image_stays_empty():
    assert not refined(np.zeros((4, 5)), clear_border=True, **EVERYTHING).any()


@given(small_labels)
def test_smoothing_loses_no_object(labels):
    after = refined(labels, smooth=2.0, renumber=False)
    assert np.unique(after[after > 0]).tolist() == np.unique(labels[labels > 0]).tolist()


@given(small_labels)
def test_splitting_keeps_the_foreground_and_never_joins_objects(labels):
    after = refined(labels, split=True, min_distance=1.0, prominence=0.0)
    assert ((after > 0) == (labels > 0)).all()
    for number in np.unique(after[after > 0]):
        assert len(np.unique(labels[after == number])) == 1


@given(small_labels)
def test_filled_holes_lie_within_one_object(labels):
    after = refined(labels, max_hole_size=100, renumber=False)
    filled = (labels == 0) & (after > 0)
    for number in np.unique(after[filled]):
        assert ndimage.binary_fill_holes(labels == number)[filled & (after == number)].all()
