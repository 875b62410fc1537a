"""Corrections by hand change the pixels that they should, and no others."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from skimage import draw as skimage_draw
from skimage.measure import label
from skimage.segmentation import watershed

from napari_tessera.algorithms import label_edits as edits
from napari_tessera.core.errors import InputError, ParameterError


def picture(*rows: str) -> np.ndarray:
    """Return labels: each character is a pixel, a point is background; volumes have a blank between planes."""
    planes = [[[0 if pixel == "." else int(pixel) for pixel in row] for row in plane] for plane in map(str.split, rows)]
    columns = np.array(planes)  # (Y, Z, X)
    return columns[:, 0] if columns.shape[1] == 1 else columns.transpose(1, 0, 2)


def assert_gives(edit: edits.Edit, labels: np.ndarray, *rows: str) -> None:
    np.testing.assert_array_equal(edit.applied_to(labels), picture(*rows))


def test_picture_of_a_volume_has_planes_side_by_side():
    assert picture("1. .2", "3. .4").tolist() == [[[1, 0], [3, 0]], [[0, 2], [0, 4]]]


# The edit


def test_edit_holds_only_the_part_that_changes():
    edit = edits.delete(picture("....", ".12.", "...."), 1)
    assert edit.where == (slice(1, 2), slice(1, 2))
    assert edit.labels.tolist() == [[0]]


def test_changes_are_pixels_of_the_whole_array_and_their_new_labels():
    labels = picture("....", "2.11", "..21")
    indices, values = edits.merge(labels, [2, 1]).changes(labels)
    assert [index.tolist() for index in indices] == [[1, 1, 2], [2, 3, 3]]
    assert values.tolist() == [2, 2, 2]


def test_edit_that_changes_nothing_has_no_changes():
    labels = picture("11", "11")
    indices, values = edits.fill_holes(labels, 1).changes(labels)
    assert [len(index) for index in indices] == [0, 0]
    assert len(values) == 0


@pytest.mark.parametrize("dtype", ["u1", "i1", ">u2", "<i4", ">i8", "u8", ">u8"])
def test_edit_has_the_dtype_of_the_labels(dtype):
    labels = picture("1.2.", "...3").astype(dtype)
    mask = np.ones(labels.shape, bool)
    made = [
        edits.delete(labels, [1, 3]),
        edits.merge(labels, [3, 1]),
        edits.grow(labels, [1, 2], 1),
        edits.smooth(labels, [1, 3], 1),
        edits.draw(labels, mask, 9),
        edits.copy_plane(labels, 3, 0, 1, 0),
    ]
    for edit in made:
        assert edit.labels.dtype == labels.dtype
        assert edit.applied_to(labels).dtype == labels.dtype


@pytest.mark.parametrize("number", [2**63 + 5, 2**64 - 1])
def test_numbers_above_the_largest_signed_integer_are_exact(number):
    labels = np.array([[number, number - 1, 0, number - 2]], np.uint64)
    assert edits.delete(labels, number).applied_to(labels).tolist() == [[0, number - 1, 0, number - 2]]
    merged = edits.merge(labels, [number - 2, number]).applied_to(labels)
    assert merged.tolist() == [[number - 2, number - 1, 0, number - 2]]


def test_huge_numbers_take_no_memory():
    labels = np.array([[2**40, 0, 2**40 + 1, 5]])
    assert edits.delete(labels, [2**40 + 1, 5]).applied_to(labels).tolist() == [[2**40, 0, 0, 0]]


# Delete and merge


def test_delete_removes_all_pieces():
    labels = picture("1.2", "2.1", ".3.")
    assert_gives(edits.delete(labels, [1, 3]), labels, "..2", "2..", "...")


def test_delete_in_a_volume():
    labels = picture("12 1.", "2. .1")
    assert_gives(edits.delete(labels, np.int64(1)), labels, ".2 ..", "2. ..")


def test_merge_gives_the_first_number_whatever_the_order():
    labels = picture("1.23", "..44")
    assert_gives(edits.merge(labels, (3, 1, 4)), labels, "3.23", "..33")


@pytest.mark.parametrize("numbers", [1, [1], [1, 1], np.array([1, 1])])
def test_merge_of_one_object_is_refused(numbers):
    with pytest.raises(InputError, match="Only object 1 is to be merged"):
        edits.merge(picture("12"), numbers)


# Split along a line


def test_line_splits_and_the_larger_part_keeps_the_number():
    labels = picture("222222", "222222")
    assert_gives(edits.split_along(labels, 2, [[-1, 1], [3, 1]]), labels, "332222", "332222")


def test_smaller_part_gets_the_free_number():
    labels = picture("2222222")
    assert_gives(edits.split_along(labels, 2, [[0, 4], [0, 4]], free=9), labels, "2222299")


def test_line_through_a_gap_cuts_nothing():
    with pytest.raises(InputError, match="does not cut object 2 in two"):
        edits.split_along(picture("222.222"), 2, [[0, 3], [1, 3]])


def test_pixels_on_the_line_go_to_the_nearest_part():
    labels = picture(".1.....", "1111111", ".1.....")
    assert_gives(edits.split_along(labels, 1, [[1, 3], [1, 5]]), labels, ".1.....", "1111122", ".1.....")


def test_diagonal_line_leaves_no_gap_at_its_corners():
    labels = picture("1111", "1111", "1111", "1111")
    assert_gives(edits.split_along(labels, 1, [[0, 0], [3, 3]]), labels, "1111", "2111", "2211", "2221")


def test_diagonal_stroke_is_one_piece_that_a_line_cuts():
    labels = np.eye(7, dtype=int)
    result = edits.split_along(labels, 1, [[6, -1], [-1, 6]]).applied_to(labels)  # between pixels 2 and 3
    assert np.diag(result)[[0, 1, 4, 5, 6]].tolist() == [2, 2, 1, 1, 1]


def test_piece_off_the_line_keeps_the_number():
    labels = picture("1...11111", "....11111")
    assert_gives(edits.split_along(labels, 1, [[-1, 5], [2, 5]]), labels, "1...22111", "....22111")


def test_line_over_two_pieces_gives_three_new_numbers_by_size():
    labels = picture("1111111", ".......", "11111..")
    edit = edits.split_along(labels, 1, [[0, 1], [2, 1]], free=7)
    assert_gives(edit, labels, "8811111", ".......", "99777..")


def test_line_cuts_all_planes_of_a_volume():
    labels = picture("11111 1111. .....", "11111 1111. ...11")
    expected = ("22111 2211. .....", "22111 2211. ...11")
    assert_gives(edits.split_along(labels, 1, [[-2, 1], [4, 1]]), labels, *expected)


def test_line_leaves_other_objects_that_it_crosses():
    labels = picture("333", "111", "111", "333")
    result = edits.split_along(labels, 1, [[-1, 1], [4, 1]]).applied_to(labels)
    assert (result[[0, 3]] == 3).all()
    assert result[1:3, [0, 2]].tolist() in ([[1, 4], [1, 4]], [[4, 1], [4, 1]])


@pytest.mark.parametrize(
    "line", [[[0, 0]], [[0, 0, 0], [1, 1, 1]], [0, 1], [[0, np.nan], [1, 1]], [[0, 0], [1e300, 0]], "ab", None]
)
def test_what_is_no_line_is_refused(line):
    with pytest.raises(InputError, match="line"):
        edits.split_along(picture("111"), 1, line)


def test_new_number_must_fit_into_the_dtype():
    labels = picture("1111111").astype(np.uint8)
    labels[0, 6] = 255
    with pytest.raises(InputError, match="new number 256 does not fit into uint8 labels, which go up to 255"):
        edits.split_along(labels, 1, [[0, 2], [0, 2]])
    result = edits.split_along(labels, 1, [[0, 1], [0, 1]], free=9).applied_to(labels)
    assert result.tolist() == [[9, 9, 1, 1, 1, 1, 255]]


@pytest.mark.parametrize("free", [0, -1, 1.5, True, "x"])
def test_free_must_be_a_whole_number_above_0(free):
    with pytest.raises(ParameterError, match="`free`"):
        edits.split_along(picture("11111"), 1, [[0, 2], [0, 2]], free=free)


# Split by seeds


def test_seeds_split_at_the_neck():
    labels = picture("111.111", "1111111", "111.111")
    result = edits.split_by_seeds(labels, 1, [[1, 1], [1, 5]]).applied_to(labels)
    assert result[:, :3].tolist() == picture("111", "111", "111").tolist()
    assert result[:, 4:].tolist() == picture("222", "222", "222").tolist()


def test_first_seed_keeps_the_number():
    labels = picture("1111")
    edit = edits.split_by_seeds(labels, 1, [[0, 3], [0, 0]], free=6)
    assert_gives(edit, labels, "6611")


def test_piece_without_a_seed_keeps_the_number():
    labels = picture("11.1111", "....111")
    result = edits.split_by_seeds(labels, 1, [[0, 3], [1, 6]]).applied_to(labels)
    assert result[0, :2].tolist() == [1, 1]
    assert set(result[:, 3:].ravel()) == {0, 1, 2}


def test_seeds_follow_the_spacing():
    labels = picture("11.1111", "1111111", "1111111")
    seeds = [[1, 0], [1, 6]]
    assert_gives(edits.split_by_seeds(labels, 1, seeds), labels, "11.2222", "1122222", "1122222")
    edit = edits.split_by_seeds(labels, 1, seeds, spacing=(4, 1))
    assert_gives(edit, labels, "11.2222", "1222222", "2222222")


def test_seeds_in_a_volume_that_the_object_fills():
    labels = np.ones((2, 2, 4), np.uint8)
    result = edits.split_by_seeds(labels, 1, [[0, 0, 0], [1, 1, 3]]).applied_to(labels)
    assert result[0, 0, 0] == 1
    assert result[1, 1, 3] == 2
    assert set(result.ravel()) == {1, 2}


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ([[0, 0], [0, 3]], "Seed 2 of 2 is not inside object 1"),
        ([[0, 0]], "at least two seeds"),
        ([[0, 0], [0.4, 0.2]], "each on its own pixel"),
        ([[0, 0], [0, 9]], "outside the image"),
        ([[0, 0], [0, np.nan]], "outside the image"),
        ([[0, 0, 0]], "has shape"),
        ([], "at least two seeds"),
    ],
)
def test_wrong_seeds_are_refused(seeds, text):
    with pytest.raises(InputError, match=text):
        edits.split_by_seeds(picture("111."), 1, seeds)


# Holes


def test_hole_is_filled_but_not_the_object_in_it():
    labels = picture("11111", "1.2.1", "11111")
    assert_gives(edits.fill_holes(labels, 1), labels, "11111", "11211", "11111")


def test_bay_and_what_touches_the_edge_are_no_holes():
    labels = picture("1.1..", "1.111", "1.1.1", "111.1")
    assert_gives(edits.fill_holes(labels, 1), labels, "1.1..", "1.111", "1.1.1", "111.1")


def test_hole_closed_by_corners_only_is_filled():
    labels = picture(".1.", "1.1", ".1.")
    assert_gives(edits.fill_holes(labels, 1), labels, ".1.", "111", ".1.")


def test_ring_in_a_plane_is_no_hole_of_a_volume():
    labels = picture("111 111 ...", "1.1 111 ...", "111 111 ...")
    assert_gives(edits.fill_holes(labels, 1), labels, "111 111 ...", "1.1 111 ...", "111 111 ...")


def test_hole_of_a_volume_is_filled():
    labels = np.ones((3, 3, 3), int)
    labels[1, 1, 1] = 0
    assert edits.fill_holes(labels, 1).applied_to(labels).all()


@pytest.mark.parametrize("numbers", [[1, 2], [2, 1]])
def test_hole_in_both_goes_to_the_inner_object(numbers):
    labels = picture("1111111", "1.....1", "1.222.1", "1.2.2.1", "1.222.1", "1.....1", "1111111")
    expected = ("1111111", "1111111", "1122211", "1122211", "1122211", "1111111", "1111111")
    assert_gives(edits.fill_holes(labels, numbers), labels, *expected)


# Grow and shrink


def test_object_grows_onto_background_only():
    labels = picture(".....", "..12.", ".....")
    assert_gives(edits.grow(labels, 1, 1), labels, "..1..", ".112.", "..1..")


def test_nearer_object_gets_the_pixel_and_at_equal_distance_the_first():
    labels = picture("1....2", "1...2.")
    assert_gives(edits.grow(labels, [2, 1], 9), labels, "111222", "112222")
    assert_gives(edits.grow(labels, [1, 2], 9), labels, "111222", "111222")


def test_growth_follows_the_spacing():
    labels = picture(".......", "...1...", ".......")
    assert_gives(edits.grow(labels, 1, 2, spacing=(3, 1)), labels, ".......", ".11111.", ".......")
    assert_gives(edits.grow(labels, 1, 3, spacing=(3, 1)), labels, "...1...", "1111111", "...1...")


def test_growth_by_three_pixels_of_a_tenth_is_not_lost_to_rounding():
    labels = picture("1....")
    assert_gives(edits.grow(labels, 1, 0.3, spacing=0.1), labels, "1111.")


def test_growth_in_a_volume():
    labels = picture("... ... ...", "... .1. ...", "... ... ...")
    assert_gives(edits.grow(labels, 1, 1), labels, "... .1. ...", ".1. 111 .1.", "... .1. ...")
    assert_gives(edits.grow(labels, 1, 1, spacing=(2, 1, 1)), labels, "... .1. ...", "... 111 ...", "... .1. ...")


def test_object_shrinks_from_background_and_neighbours_but_not_from_the_edge():
    labels = picture("1111.", "11112", "1111.", ".....")
    assert_gives(edits.shrink(labels, 1, 1), labels, "111..", "111.2", ".....", ".....")


def test_shrinking_follows_the_spacing():
    labels = picture(".....", ".111.", ".111.", ".111.", ".....")
    assert_gives(edits.shrink(labels, 1, 1, spacing=(2, 1)), labels, ".....", "..1..", "..1..", "..1..", ".....")


def test_shrinking_by_three_pixels_of_a_tenth_is_not_lost_to_rounding():
    labels = picture(".11111")
    assert_gives(edits.shrink(labels, 1, 0.3, spacing=0.1), labels, "....11")


def test_object_that_fills_the_array_does_not_shrink():
    labels = picture("11 11", "11 11")
    assert_gives(edits.shrink(labels, 1, 5), labels, "11 11", "11 11")


def test_object_that_would_vanish_is_named():
    labels = picture("2222.", "2222.", ".....", "33...")
    with pytest.raises(InputError, match=r"Object 3 would vanish\. Shrink it by less than 1\."):
        edits.shrink(labels, [2, 3], 1)


@pytest.mark.parametrize("distance", [0, -1, np.nan, np.inf, "2", None, True, [1]])
@pytest.mark.parametrize("operation", [edits.grow, edits.shrink, edits.smooth])
def test_distance_must_be_a_number_above_0(operation, distance):
    with pytest.raises(ParameterError, match="must be a number above 0"):
        operation(picture("1."), 1, distance)


def test_radius_larger_than_the_array_is_refused():
    with pytest.raises(ParameterError, match="at most 4"):
        edits.smooth(picture("1111", "...."), 1, 5)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 0), "ab", (1, np.nan)])
def test_wrong_spacing_is_refused(spacing):
    with pytest.raises(InputError, match="spacing"):
        edits.grow(picture("1."), 1, 1, spacing=spacing)


# Smooth


def test_smoothing_removes_a_spike_and_fills_a_notch():
    labels = picture(".....1...", ".1111111.", ".1111111.", ".1111111.", ".111.111.", ".........")
    block = (".1111111.",) * 4
    assert_gives(edits.smooth(labels, 1, 1.5), labels, ".........", *block, ".........")


def test_small_object_does_not_vanish_and_is_closed():
    labels = picture(".....", ".1.1.", "..1..", ".....")
    assert_gives(edits.smooth(labels, 1, 1.5), labels, ".....", ".111.", "..1..", ".....")


def test_smoothing_never_covers_others():
    labels = picture(".....", ".121.", "..1..", ".....")
    assert_gives(edits.smooth(labels, 1, 1.5), labels, ".....", ".121.", "..1..", ".....")


def test_smoothing_keeps_an_object_at_the_edge_and_does_not_stretch_it_there():
    labels = picture("11..", "11..", "11..")
    assert_gives(edits.smooth(labels, 1, 1), labels, "11..", "11..", "11..")
    labels = picture(".11..", ".11..", ".11..")
    assert_gives(edits.smooth(labels, 1, 2), labels, ".11..", ".11..", ".11..")


def test_smoothing_follows_the_spacing():
    labels = picture(".......", ".1.1.1.", ".......")
    assert_gives(edits.smooth(labels, 1, 1, spacing=(2, 1)), labels, ".......", ".11111.", ".......")
    assert_gives(edits.smooth(labels, 1, 1, spacing=(1, 2)), labels, ".......", ".1.1.1.", ".......")


def test_ball_removes_a_spike_and_corners():
    labels = np.zeros((7, 7, 7), int)
    labels[1:6, 1:6, 1:6] = 1
    expected = labels.copy()
    expected[np.ix_([1, 5], [1, 5], [1, 5])] = 0
    labels[3, 3, 6] = 1
    np.testing.assert_array_equal(edits.smooth(labels, 1, 1.5).applied_to(labels), expected)


# Planes


def test_plane_is_copied_onto_background_only():
    labels = picture("11. .2. ...", "11. ..1 ...")
    assert_gives(edits.copy_plane(labels, 1, 0, 0, 1), labels, "11. 12. ...", "11. 111 ...")
    assert_gives(edits.copy_plane(labels, 1, 0, 0, 2), labels, "11. .2. 11.", "11. ..1 11.")


def test_plane_is_copied_along_any_axis():
    labels = picture("1.. 1..", "... ...")
    assert_gives(edits.copy_plane(labels, 1, -1, 0, 2), labels, "1.1 1.1", "... ...")
    assert_gives(edits.copy_plane(labels, 1, 1, 0, 1), labels, "1.. 1..", "1.. 1..")


def test_plane_without_the_object_is_refused():
    with pytest.raises(InputError, match="There is no object 1 in plane 1"):
        edits.copy_plane(picture("1. .2"), 1, 0, 1, 0)


@pytest.mark.parametrize(("axis", "source", "target"), [(3, 0, 1), (0, 2, 0), (0, 0, -1), (0, 0, 1.5), (True, 0, 1)])
def test_wrong_axis_or_plane_is_refused(axis, source, target):
    with pytest.raises(InputError, match="must be a whole number from"):
        edits.copy_plane(picture("1. .2"), 1, axis, source, target)


def test_plane_between_is_interpolated():
    labels = picture(
        "..... ..... .....", ".111. ..... .....", ".111. ..... ..1..", ".111. ..... .....", "..... ..... ....."
    )
    result = edits.interpolate(labels, 1, 0).applied_to(labels)
    assert result[1].tolist() == picture(".....", "..1..", ".111.", "..1..", ".....").tolist()


def test_interpolation_weights_planes_by_their_distance():
    labels = picture("11111 ..... ..... ..... 1....")  # signed distances 1 1 1 1 1 and 1 -1 -2 -3 -4
    assert_gives(edits.interpolate(labels, 1, 0), labels, "11111 1111. 11... 1.... 1....")


def test_interpolation_leaves_others_and_painted_planes():
    labels = picture("111 .2. 111 ... 1..")
    result = edits.interpolate(labels, 1, 0).applied_to(labels)
    assert result[1].tolist() == [[1, 2, 1]]
    assert result[3].tolist() == [[1, 1, 0]]
    assert (result[[0, 2, 4]] == labels[[0, 2, 4]]).all()


def test_interpolation_along_the_last_axis():
    labels = picture("1...1", "1...1", ".....")
    assert_gives(edits.interpolate(labels, 1, -1), labels, "11111", "11111", ".....")


@pytest.mark.parametrize("labels", [picture("1. 1. .."), picture("1. .. .."), picture(".. .. .1")])
def test_object_without_a_gap_is_refused(labels):
    with pytest.raises(InputError, match="Object 1 has no gap along axis 0"):
        edits.interpolate(labels, 1, 0)


# Draw


def test_shape_is_drawn_onto_background_only():
    labels = picture("2..", "3.1")
    mask = np.array([[1, 1, 0], [1, 1, 1]], bool)
    assert_gives(edits.draw(labels, mask, 3), labels, "23.", "331")
    assert_gives(edits.draw(labels, mask, 3, over_others=True), labels, "33.", "333")


def test_shape_is_drawn_in_a_part():
    labels = picture("... ...", "... ..1")
    mask = np.array([[[True, True]]])
    where = (slice(1, 2), slice(1, 2), slice(1, None))
    assert_gives(edits.draw(labels, mask, 7, where=where), labels, "... ...", "... .71")


@pytest.mark.parametrize(
    ("mask", "where"),
    [
        (np.zeros((2, 3), bool), None),
        (np.ones((2, 2), bool), None),
        (np.ones((2, 3), int), None),
        (np.ones((2, 3), bool), (slice(0, 1), slice(0, 3))),
        (np.ones((1, 3), bool), (slice(0, 1), slice(1, 4))),
        (np.ones((1, 2), bool), (slice(0, 1), slice(0, 3, 2))),
    ],
)
def test_mask_that_is_empty_or_does_not_fit_is_refused(mask, where):
    with pytest.raises(InputError, match="Draw a shape inside the labels"):
        edits.draw(picture("...", "..1"), mask, 1, where=where)


def test_drawn_number_must_fit_into_the_dtype():
    with pytest.raises(InputError, match="new number 256 does not fit into uint8"):
        edits.draw(np.zeros((1, 1), np.uint8), np.ones((1, 1), bool), 256)


# Errors of all


OF_ONE: dict[str, Callable[[np.ndarray, int], edits.Edit]] = {
    "split_along": lambda labels, number: edits.split_along(labels, number, [[0, 0], [1, 1]]),
    "split_by_seeds": lambda labels, number: edits.split_by_seeds(labels, number, [[0, 0], [0, 1]]),
    "copy_plane": lambda labels, number: edits.copy_plane(labels, number, 0, 0, 1),
    "interpolate": lambda labels, number: edits.interpolate(labels, number, 0),
}
OF_SEVERAL: dict[str, Callable[[np.ndarray, int], edits.Edit]] = {
    "delete": edits.delete,
    "merge": edits.merge,
    "fill_holes": edits.fill_holes,
    "grow": lambda labels, numbers: edits.grow(labels, numbers, 1),
    "shrink": lambda labels, numbers: edits.shrink(labels, numbers, 1),
    "smooth": lambda labels, numbers: edits.smooth(labels, numbers, 1),
}
ALL = [*OF_ONE.values(), *OF_SEVERAL.values()]


@pytest.mark.parametrize("number", [7, 300, 2**70])
@pytest.mark.parametrize("operation", ALL)
def test_absent_number_is_named(operation, number):
    with pytest.raises(InputError, match=f"There is no object {number} in"):
        operation(picture("11.", "..2").astype(np.uint8), number)


@pytest.mark.parametrize("operation", OF_SEVERAL.values())
def test_absent_number_among_others_is_named(operation):
    with pytest.raises(InputError, match="There is no object 7 in the labels"):
        operation(picture("11.", "..2"), [1, 7, 2])


@pytest.mark.parametrize("number", [0, -1, 1.0, True, None, "1"])
@pytest.mark.parametrize("operation", [*ALL, lambda labels, number: edits.draw(labels, labels > 0, number)])
def test_what_is_no_number_of_an_object_is_refused(operation, number):
    with pytest.raises(ParameterError, match="objects have whole numbers above 0"):
        operation(picture("11.", "..2"), number)


@pytest.mark.parametrize("operation", OF_ONE.values())
def test_several_numbers_are_refused_where_one_is_needed(operation):
    with pytest.raises(ParameterError, match="`number` has"):
        operation(picture("11.", "..2"), [1, 2])


def test_no_number_is_refused():
    with pytest.raises(ParameterError, match="`numbers` is empty"):
        edits.delete(picture("1."), [])


@pytest.mark.parametrize(
    "labels", [np.ones((2, 2)), np.ones((2, 2), bool), np.ones(3, int), np.ones((1,) * 4, int), [[1]]]
)
@pytest.mark.parametrize("operation", ALL)
def test_what_are_no_labels_is_refused(operation, labels):
    with pytest.raises(InputError, match="The labels are"):
        operation(labels, 1)


# Random operations, against implementations on whole arrays


def away_from(mask: np.ndarray, spacing) -> np.ndarray:
    """Return the distance of every pixel to the nearest True one, by looking at all of them; infinity without one."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    scaled = [np.argwhere(which) * spacing for which in (np.ones_like(mask), mask)]
    return cdist(*scaled).min(axis=1).reshape(mask.shape)


def grown(labels, numbers, distance, spacing):
    away = np.stack([away_from(labels == number, spacing) for number in numbers])
    owner = np.array(numbers, labels.dtype)[away.argmin(axis=0)]
    return np.where((labels == 0) & (away.min(axis=0) <= distance), owner, labels)


def shrunk(labels, numbers, distance, spacing):
    result = labels.copy()
    for number in numbers:
        result[(labels == number) & (away_from(labels != number, spacing) <= distance)] = 0
        if not (result == number).any():
            raise InputError
    return result


def smoothed(labels, numbers, radius, spacing):
    for number in numbers:
        own = labels == number
        core = away_from(~own, spacing) > radius
        kept = away_from(core, spacing) <= radius if core.any() else own
        wide = away_from(np.pad(kept, 3), spacing) <= radius
        closed = (away_from(~wide, spacing) > radius)[(slice(3, -3),) * labels.ndim]
        others = (labels != 0) & ~own
        labels = np.where(others, labels, np.where(closed, number, 0).astype(labels.dtype))
    return labels


def filled(labels, numbers):
    def extent(number):
        return np.prod(np.ptp(np.argwhere(labels == number), axis=0) + 1)

    for number in sorted(numbers, key=extent):
        regions = label(np.pad(labels != number, 1, constant_values=True), connectivity=1, background=0)
        is_hole = (regions != regions.flat[0])[(slice(1, -1),) * labels.ndim]
        labels = np.where(is_hole & (labels == 0), number, labels).astype(labels.dtype)
    return labels


def seeded(labels, number, seeds, spacing, free):
    if len(seeds) < 2:
        raise InputError
    own = labels == number
    markers = np.zeros(labels.shape, int)
    for index, seed in enumerate(seeds, 1):
        markers[tuple(seed)] = index
    height = np.where(own, away_from(~own, spacing), 0)
    parts = watershed(-height, markers, connectivity=labels.ndim, mask=own)
    result = labels.copy()
    for part in range(2, len(seeds) + 1):
        result[parts == part] = free + part - 2
    return result


def copied(labels, number, axis, source, target):
    result = labels.copy()
    into, outlined = result.swapaxes(0, axis), labels.swapaxes(0, axis)[source] == number
    if not outlined.any():
        raise InputError
    into[target] = np.where(outlined & (into[target] == 0), number, into[target])
    return result


def interpolated(labels, number, axis):
    result = np.pad(labels, 1)
    planes = np.moveaxis(result, axis, 0)
    painted = [plane for plane in range(len(planes)) if (planes[plane] == number).any()]
    if painted[-1] - painted[0] + 1 == len(painted):
        raise InputError
    signed = {}
    for plane in painted:
        own = planes[plane] == number
        signed[plane] = away_from(~own, 1) - away_from(own, 1)
    for plane in set(range(painted[0], painted[-1])) - set(painted):
        before, after = max(p for p in painted if p < plane), min(p for p in painted if p > plane)
        share = (plane - before) / (after - before)
        inside = signed[before] * (1 - share) + signed[after] * share > -1e-9
        planes[plane][inside & (planes[plane] == 0)] = number
    return result[(slice(1, -1),) * labels.ndim]


def check_split(labels, result, number, line, free):
    """Check what a split along a line promises; ties of the nearest part are free."""
    plane = np.zeros(labels.shape[-2:], bool)
    for (y0, x0), (y1, x1) in pairwise(line):
        walked = list(zip(*skimage_draw.line(y0, x0, y1, x1), strict=True))
        for (y, x), (next_y, next_x) in zip(walked, walked[1:] + walked[-1:], strict=True):
            plane[y, x] = plane[next_y, x] = plane[next_y, next_x] = True
    is_on_line = np.broadcast_to(plane, labels.shape)
    pieces = label(labels == number, connectivity=labels.ndim)
    parts = label((labels == number) & ~is_on_line, connectivity=labels.ndim)
    found = []
    np.testing.assert_array_equal(result[labels != number], labels[labels != number])
    for piece in range(1, pieces.max() + 1):
        own = pieces == piece
        inside = np.setdiff1d(parts[own], 0)
        if len(inside) < 2:
            assert (result[own] == number).all()
            continue
        away = np.stack([away_from(parts == part, 1) for part in inside])
        of_part = [np.unique(result[parts == part]) for part in inside]
        assert all(len(numbers) == 1 for numbers in of_part)
        new = np.array([numbers[0] for numbers in of_part])
        nearest = away == away.min(axis=0)
        assert (nearest & (new.reshape(-1, *[1] * labels.ndim) == result)).any(axis=0)[own].all()
        found += [((result == each) & own).sum() for each in new.tolist()]
    if not found:
        return False
    new = np.setdiff1d(result, np.append(labels.ravel(), 0))
    assert new.tolist() == list(range(free, free + len(found) - 1))
    sizes = [(result == each).sum() for each in new.tolist()]
    assert sizes == sorted(sizes, reverse=True)
    assert max(found) >= max(sizes)
    return True


def random_labels(rng, ndim):
    shape = (9, 11) if ndim == 2 else (5, 6, 7)
    coarse = rng.integers(0, 6, [-(-side // 3) for side in shape]) % 4
    for axis in range(ndim):
        coarse = coarse.repeat(3, axis)
    labels = coarse[tuple(slice(side) for side in shape)]
    speckled = rng.random(shape) < 0.12
    labels = np.where(speckled, rng.integers(0, 4, shape), labels)
    dtype = np.dtype(rng.choice(["u1", ">i2", "<i4", ">i8", "u8", ">u8"]))
    labels = labels.astype(dtype)
    if dtype.itemsize == 8 and rng.random() < 0.5:
        labels[labels == 3] = 2**62 + 1
    if rng.random() < 0.5:
        labels = np.asfortranarray(labels)
    if rng.random() < 0.5:
        labels = np.repeat(labels, 2, axis=-1)[..., ::2]
    labels.flags.writeable = False
    return labels


def random_operation(rng, labels):
    """Return an edit to make, and the array that it must give; None where the result is checked by `check_split`."""
    present = [number for number in np.unique(labels).tolist() if number]
    numbers = rng.permutation(np.array(present, object)).tolist()[: rng.integers(1, 4)]
    number, axis = numbers[0], int(rng.integers(labels.ndim))
    spacing = [(1, 1, 1), (2, 1, 1), (1, 1.5, 2)][rng.integers(3)][-labels.ndim :]
    distance = float(rng.choice([0.5, 1, 1.5, 2, 2.5]))
    free = 100
    source, target = rng.integers(labels.shape[axis], size=2)
    mask = rng.random(labels.shape) < 0.3
    seeds = rng.permutation(np.argwhere(labels == number))[: rng.integers(2, 5)]
    is_over = bool(rng.random() < 0.5)
    drawn = np.where(mask & ((labels == 0) | is_over), np.array(50, labels.dtype), labels)
    line = [[int(rng.integers(side)) for side in labels.shape[-2:]] for _ in range(3)]
    line = [[0, line[0][1]], *line[1:2], [labels.shape[-2] - 1, line[2][1]]]
    several = numbers if len(numbers) > 1 else present
    table = {
        "delete": (lambda: edits.delete(labels, numbers), lambda: np.where(np.isin(labels, numbers), 0, labels)),
        "merge": (
            lambda: edits.merge(labels, several),
            lambda: np.where(np.isin(labels, several), np.array(several[0], labels.dtype), labels),
        ),
        "fill": (lambda: edits.fill_holes(labels, numbers), lambda: filled(labels, numbers)),
        "grow": (
            lambda: edits.grow(labels, numbers, distance, spacing=spacing),
            lambda: grown(labels, numbers, distance, spacing),
        ),
        "shrink": (
            lambda: edits.shrink(labels, numbers, distance, spacing=spacing),
            lambda: shrunk(labels, numbers, distance, spacing),
        ),
        "smooth": (
            lambda: edits.smooth(labels, numbers, distance, spacing=spacing),
            lambda: smoothed(labels, numbers, distance, spacing),
        ),
        "seeds": (
            lambda: edits.split_by_seeds(labels, number, seeds, spacing=spacing, free=free),
            lambda: seeded(labels, number, seeds, spacing, free),
        ),
        "copy": (
            lambda: edits.copy_plane(labels, number, axis, source, target),
            lambda: copied(labels, number, axis, source, target),
        ),
        "interpolate": (lambda: edits.interpolate(labels, number, axis), lambda: interpolated(labels, number, axis)),
        "draw": (lambda: edits.draw(labels, mask, 50, over_others=is_over), lambda: drawn),
        "line": (lambda: edits.split_along(labels, number, line, free=free), None),
    }
    made, expected = table[rng.choice(list(table))]
    return made, expected, (number, line, free)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(100))
def test_random_operation_is_that_on_the_whole_array_and_can_be_undone(ndim, seed):
    rng = np.random.default_rng([ndim, seed])
    labels = random_labels(rng, ndim)
    before = labels.copy()
    made, expected, split = random_operation(rng, labels)
    try:
        wanted = expected() if expected else None
    except InputError:
        with pytest.raises(InputError):
            made()
        return
    try:
        edit = made()
    except InputError:
        assert expected is None
        assert not check_split(labels, labels, *split)
        return
    result = edit.applied_to(labels)
    if expected is None:
        assert check_split(labels, result, *split)
    else:
        np.testing.assert_array_equal(result, wanted)
    assert result.dtype == edit.labels.dtype == labels.dtype
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(undone(labels, edit), before)


def undone(labels, edit):
    """Make the changes in a copy one by one, check that they are all, and take them back."""
    indices, values = edit.changes(labels)
    work = labels.copy()
    old = work[indices]
    assert (old != values).all()
    work[indices] = values
    np.testing.assert_array_equal(work, edit.applied_to(labels))
    work[indices] = old
    return work
