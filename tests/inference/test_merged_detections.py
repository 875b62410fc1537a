"""Detections of overlapping tiles joined: no doubles, no halves, none lost."""

import torch

from napari_tessera.inference.tiled_detection import DetectionTile, join
from napari_tessera.models.mask_rcnn.detections import Detections, DroppedProposals

SHAPE = (20, 60)
LEFT, RIGHT = DetectionTile(0, 0, 20, 40), DetectionTile(0, 20, 20, 40)  # they share columns 20 to 39


def found(*boxes, scores=None, labels=None, left=None):
    count = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(count, 4),
        torch.tensor(labels or [1] * count),
        torch.tensor(scores or [0.9] * count),
        torch.ones(count, 4, 4),
        left or DroppedProposals(),
    )


def joined(left, right):
    return join([(LEFT, left), (RIGHT, right)], SHAPE, 0.5)[0]


def test_objects_of_all_tiles_are_found_in_pixels_of_the_image():
    both = joined(found([2, 2, 10, 10]), found([30, 2, 38, 10], scores=[0.8]))
    assert both.boxes.tolist() == [[2, 2, 10, 10], [50, 2, 58, 10]]


def test_an_object_in_two_tiles_is_found_once():
    both = joined(found([24, 4, 34, 14], scores=[0.7]), found([4, 4, 14, 14.5], scores=[0.8]))
    assert both.scores.tolist() == [torch.tensor(0.8).item()]


def test_a_whole_object_comes_before_the_part_that_another_tile_saw():
    part, whole = found([35, 4, 40, 14], scores=[0.99]), found([15, 4, 25, 14], scores=[0.6])
    assert joined(part, whole).boxes.tolist() == [[35, 4, 45, 14]]


def test_the_tile_that_has_a_place_deeper_inside_decides_what_is_there():
    near_the_edge, deep_inside = found([31, 4, 38, 14], scores=[0.99]), found([10, 4, 18, 14], scores=[0.6])
    assert joined(near_the_edge, deep_inside).boxes.tolist() == [[30, 4, 38, 14]]
    assert len(joined(near_the_edge, found()).boxes) == 0


def test_objects_that_no_tile_holds_whole_are_marked():
    boxes, is_cut = join(
        [(LEFT, found([10, 2, 40, 18], [2, 2, 8, 8], scores=[0.9, 0.8])), (RIGHT, found())], SHAPE, 0.5
    )
    assert boxes.boxes[:, 0].tolist() == [10, 2]
    assert is_cut.tolist() == [True, False]


def test_an_object_at_the_border_of_the_image_is_whole():
    edge = found([0, 0, 8, 8], [0, 12, 8, 20])
    assert len(joined(edge, found()).boxes) == 2


def test_objects_of_different_classes_may_share_a_place():
    both = joined(found([24, 4, 34, 14], labels=[1]), found([4, 4, 14, 14], labels=[2]))
    assert sorted(both.labels.tolist()) == [1, 2]


def test_an_object_that_no_tile_holds_whole_is_kept():
    assert len(joined(found([10, 2, 40, 18]), found()).boxes) == 1


def test_what_tiles_left_out_is_added_up():
    both = joined(
        found(left=DroppedProposals(proposals=1, faint=2)), found(left=DroppedProposals(proposals=3, detections=4))
    )
    assert both.left == DroppedProposals(proposals=4, detections=4, faint=2)
