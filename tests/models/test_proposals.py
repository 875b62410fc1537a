"""Anchors, boxes and proposals; nothing is dropped without being counted."""

import torch

from napari_tessera.models.mask_rcnn.boxes import decode, encode
from napari_tessera.models.mask_rcnn.config import Settings
from napari_tessera.models.mask_rcnn.detections import DroppedProposals, detect
from napari_tessera.models.mask_rcnn.rpn import cell_anchors, grid_anchors, limits, propose
from tests.helpers.small_mask_rcnn import small_model


def test_anchors_have_the_area_and_shape_asked_for():
    assert cell_anchors([32], [0.5, 1, 2]).tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]


def test_anchors_lie_row_by_row():
    [anchors] = grid_anchors([(2, 2)], (16, 24), [(4,)], [1.0])
    assert anchors.tolist() == [[-2, -2, 2, 2], [10, -2, 14, 2], [-2, 6, 2, 10], [10, 6, 14, 10]]


def test_decoding_undoes_encoding():
    boxes = torch.tensor([[0.0, 0, 10, 20], [5, 5, 9, 7]])
    wanted = torch.tensor([[2.0, 1, 9, 30], [4, 5, 10, 9]])
    weights = (10, 10, 5, 5)
    torch.testing.assert_close(decode(encode(wanted, boxes, weights), boxes, weights), wanted)


def test_limits_are_those_set_or_grow_with_the_image():
    fixed, growing = Settings(), Settings(rpn_pre_nms_top_n_test=None, rpn_post_nms_top_n_test=None)
    assert limits(fixed, (4096, 4096), is_training=False).proposals == 1000
    assert limits(growing, (256, 256), is_training=False).proposals == 1000
    assert limits(growing, (4096, 4096), is_training=False).proposals > 2 * (4096 / 32) ** 2


def test_likely_proposals_cut_by_a_limit_are_counted():
    anchors = grid_anchors([(10, 10)], (200, 200), [(10,)], [1.0])
    scores, codes = [torch.linspace(3, -3, 100)], [torch.zeros(100, 4)]
    settings = Settings(anchor_sizes=((10,),), rpn_pre_nms_top_n_test=40, rpn_post_nms_top_n_test=30)
    found = propose(scores, codes, anchors, (200, 200), limits(settings, (200, 200), False), settings)
    assert len(found.boxes) == 30
    assert found.cut == 50 - 30


def far_apart(count):
    starts = 20.0 * torch.arange(count)
    return torch.stack([starts, torch.zeros(count), starts + 10, torch.full((count,), 10.0)], dim=1)


def detected(count=150, lowest_score=None, **settings):
    scores = torch.stack([torch.zeros(count), torch.linspace(3, 1, count)], dim=1)
    codes = torch.zeros(count, 2, 4)
    return detect(scores, codes, far_apart(count), (10, 20 * count), Settings(**settings), lowest_score)


def test_as_many_detections_as_there_are_objects():
    assert len(detected(box_detections_per_img=None).boxes) == 150


def test_detections_above_the_number_allowed_are_counted():
    found = detected()
    assert len(found.boxes) == 100
    assert found.left == DroppedProposals(detections=50)


def test_detections_below_the_score_asked_for_are_counted():
    found = detected(lowest_score=0.8, box_detections_per_img=None)
    assert found.scores.min() >= 0.8
    assert len(found.scores) + found.left.faint == 150


def test_boxes_in_an_image_that_is_scaled_are_in_pixels_of_the_image_as_given():
    model = small_model(min_size=96, max_size=None).eval()
    [found] = model.detect([torch.rand(1, 32, 48)])
    assert found.boxes[:, 2].max() <= 48
    assert found.boxes[:, 3].max() <= 32


def test_a_score_below_the_model_s_own_threshold_finds_more():
    assert len(detected(box_score_thresh=0.9, box_detections_per_img=None).boxes) < 150
    assert len(detected(box_score_thresh=0.9, lowest_score=0.1, box_detections_per_img=None).boxes) == 150
