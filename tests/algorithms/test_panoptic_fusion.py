"""Things over stuff: every pixel in one segment, conflicts by score and size."""

from __future__ import annotations

import numpy as np
import pytest

from napari_tessera.algorithms.panoptic_fusion import Rules, Stuff, Things, fuse, things_from_masks
from napari_tessera.core.jobs import run_job

# Two cells, one of them unsure, over two kinds of stuff (1 and 2) on background (0).
CELLS = np.array(
    [
        [0, 1, 1, 0, 0, 0],
        [0, 1, 1, 0, 2, 2],
        [0, 0, 0, 0, 2, 2],
    ],
    np.int32,
)
GROUND = np.array(
    [
        [0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 2, 1, 1, 1],
    ],
    np.int32,
)


def cells(**more):
    return Things(CELLS, np.array([0, 0]), ("cell",), **more)


def fused(things=None, stuff=None, **rules):
    return run_job(fuse(things or cells(), stuff or Stuff(GROUND, ("lumen", "wall")), Rules(**rules)))


def test_things_are_numbered_before_one_segment_for_each_class_of_stuff():
    # 1, 2: the cells; 3: background, 4: lumen, 5: wall.
    assert fused().segments.tolist() == [
        [3, 1, 1, 4, 4, 4],
        [3, 1, 1, 4, 2, 2],
        [3, 3, 5, 4, 2, 2],
    ]


def test_classes_are_background_then_things_then_stuff():
    found = fused()
    assert found.classes.tolist() == [
        [1, 2, 2, 3, 3, 3],
        [1, 2, 2, 3, 2, 2],
        [1, 1, 4, 3, 2, 2],
    ]
    assert found.class_table["class"].tolist() == ["background", "cell", "lumen", "wall"]
    assert found.class_table["kind"].tolist() == ["stuff", "thing", "stuff", "stuff"]
    assert found.class_table["num_pixels"].tolist() == [4, 8, 5, 1]


def test_stuff_that_has_the_name_of_things_goes_to_the_nearest():
    found = fused(stuff=Stuff(GROUND, ("lumen", "cell")))
    assert found.class_table["class"].tolist() == ["background", "cell", "lumen"]
    assert found.class_table["kind"].tolist() == ["stuff", "thing", "stuff"]
    alone = fused(stuff=Stuff(np.ones_like(GROUND), ("cell",)))
    assert (alone.segments > 0).all()


def test_table_says_class_kind_score_and_area():
    table = fused(cells(scores=np.array([0.9, 0.6]))).table
    assert table["label"].tolist() == [1, 2, 3, 4, 5]
    assert table["class"].tolist() == ["cell", "cell", "background", "lumen", "wall"]
    assert table["kind"].tolist() == ["thing", "thing", "stuff", "stuff", "stuff"]
    np.testing.assert_array_equal(table["score"], [0.9, 0.6, np.nan, np.nan, np.nan])
    assert table["num_pixels"].tolist() == [4, 4, 4, 5, 1]


def test_things_of_a_lower_score_leave_their_pixels_to_the_stuff():
    found = fused(cells(scores=np.array([0.9, 0.4])), min_score=0.5)
    assert found.segments[1:, 4:].tolist() == [[3, 3], [3, 3]]
    assert found.table["class"].tolist() == ["cell", "background", "lumen", "wall"]


def test_things_mostly_hidden_are_dropped():
    found = fused(cells(hidden=np.array([0.6, 0.5])), least_remaining=0.5)
    assert found.table["kind"].tolist() == ["thing", "stuff", "stuff", "stuff"]
    assert found.segments[0, 1] == 2
    assert found.segments[1, 4] == 1


def test_small_stuff_goes_to_the_nearest_that_is_left():
    found = fused(smallest_stuff_px=2)  # the one pixel of wall: lumen at its right and background at its left
    assert found.segments[2, 2] in (3, 4)
    assert "wall" not in found.table["class"].tolist()
    assert found.table["num_pixels"].sum() == CELLS.size


def test_small_stuff_never_goes_to_a_thing():
    things = Things(np.array([[1, 1, 0, 1, 1, 0]]), np.array([0]), ("cell",))
    ground = np.array([[0, 0, 2, 0, 0, 1]])
    found = run_job(fuse(things, Stuff(ground), Rules(smallest_stuff_px=1)))
    assert found.segments.tolist() == [[1, 1, 3, 1, 1, 2]]
    both_small = run_job(fuse(things, Stuff(np.array([[0, 0, 2, 0, 0, 0]])), Rules(smallest_stuff_px=2)))
    assert both_small.segments.tolist() == [[1, 1, 2, 1, 1, 2]]


def test_largest_stuff_stays_however_small():
    found = fused(smallest_stuff_px=1000)
    assert found.table["class"].tolist() == ["cell", "cell", "lumen"]


def test_class_keeps_its_number_where_others_are_missing():
    only_wall = fused(stuff=Stuff(np.full_like(GROUND, 2), ("lumen", "wall")))
    assert only_wall.class_table["label"].tolist() == [2, 4]


def test_stuff_without_a_name_is_called_by_its_number():
    assert fused(stuff=Stuff(GROUND)).table["class"].tolist()[-2:] == ["class 1", "class 2"]


def test_things_everywhere_leave_no_stuff():
    things = Things(np.ones((2, 2), np.int32), np.array([0]), ("cell",))
    found = run_job(fuse(things, Stuff(np.zeros((2, 2), np.int32)), Rules(smallest_stuff_px=5)))
    assert found.table["label"].tolist() == [1]
    assert (found.segments == 1).all()


def test_no_things_leave_all_to_the_stuff():
    things = Things(np.zeros((2, 2), np.int32), np.array([], int), ("cell",))
    found = run_job(fuse(things, Stuff(np.array([[0, 0], [1, 1]])), Rules()))
    assert found.segments.tolist() == [[1, 1], [2, 2]]


def test_volumes_are_fused_as_planes_are():
    things = Things(np.stack([CELLS, CELLS]), np.array([0, 0]), ("cell",))
    found = run_job(fuse(things, Stuff(np.stack([GROUND, GROUND])), Rules()))
    np.testing.assert_array_equal(found.segments, [fused().segments] * 2)


def test_inputs_are_not_changed():
    things, ground = CELLS.copy(), GROUND.copy()
    fused(smallest_stuff_px=3)
    np.testing.assert_array_equal(CELLS, things)
    np.testing.assert_array_equal(GROUND, ground)


# Three masks on one row: a covers 0-3, b covers 3-6, c covers 2-3.
MASKS = np.array([[1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0]], bool)[:, None]


def test_the_higher_score_takes_the_pixels_of_both():
    things = things_from_masks(MASKS[:2], [0, 1], ("cat", "dog"), scores=[0.8, 0.9])
    assert things.labels.tolist() == [[1, 1, 1, 2, 2, 2, 2]]
    assert things.classes.tolist() == [0, 1]


def test_a_mask_of_which_too_little_remains_is_dropped_and_its_pixels_stay_free():
    # c has nothing left beside a. b has three of four pixels left, too few for 0.8.
    things = things_from_masks(MASKS, [0, 1, 0], ("cat", "dog"), scores=[0.9, 0.8, 0.7], least_remaining=0.8)
    assert things.labels.tolist() == [[1, 1, 1, 1, 0, 0, 0]]
    assert things.scores.tolist() == [0.9]


def test_without_scores_the_smallest_takes_its_pixels_first():
    things = things_from_masks(MASKS, [0, 1, 0], ("cat", "dog"))
    assert things.labels.tolist() == [[1, 1, 2, 2, 3, 3, 3]]
    assert things.classes.tolist() == [0, 0, 1]


@pytest.mark.parametrize("largest", [5, 70_000])
def test_numbers_of_stuff_may_have_gaps(largest):
    ground = np.where(GROUND == 2, largest, GROUND)
    assert fused(stuff=Stuff(ground)).segments[2, 2] == 5


def test_what_is_left_of_stuff_that_things_cover_is_told():
    ground = np.array([[0, 1, 1, 1, 0, 0], [0, 1, 1, 0, 2, 0], [0, 0, 0, 0, 2, 2]], np.int32)
    assert fused(stuff=Stuff(ground, ("lumen", "wall"))).rims == {"lumen": 1}  # all of the wall is covered
    assert fused().rims == {}
    assert fused(stuff=Stuff(ground, ("lumen", "wall")), smallest_stuff_px=2).rims == {}
