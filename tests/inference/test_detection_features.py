"""Detections judged by their scores and their masks."""

import numpy as np
import pytest
import torch

from napari_tessera.core.jobs import run_job
from napari_tessera.core.record_schema import check_fields
from napari_tessera.inference.detections_to_labels import DetectionThresholds
from napari_tessera.inference.normalization import measure_levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.rescore_detections import FEATURES, features_of, lowest_score, rescore
from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions, find_objects
from napari_tessera.models.header import N_FEATURES, MaskRCNNScoring
from napari_tessera.models.mask_rcnn.detections import Detections
from tests.helpers.tiny_models import BrightDetector

COUNT = len(FEATURES)


def scoring_on(feature, weight, constant=0.0, **others):
    """Judge by one feature alone."""
    weights = [constant] + [weight * (name == feature) for name in FEATURES] + [0.0] * (COUNT * (COUNT + 1) // 2)
    said = {"lowest": 0.1, "centre": [0.0] * COUNT, "spread": [1.0] * COUNT, "weights": weights}
    return {"diameter_px": 20, "scoring": said | others}


def two_detections():
    """A large one with a sure mask of half of its box, and a small one, less sure, that fills its own."""
    masks = torch.zeros(2, 4, 4)
    masks[0, :2], masks[1] = 1.0, 0.75
    boxes = torch.tensor([[0.0, 0, 20, 10], [30, 30, 34, 35]])
    return Detections(boxes, torch.tensor([1, 2]), torch.tensor([0.9, 0.5]), masks)


def said_of_two(scale=1.0):
    return [dict(zip(FEATURES, each, strict=True)) for each in features_of(two_detections(), 100.0, scale).tolist()]


def test_what_is_known_of_a_detection_is_its_score_its_area_and_how_sure_its_mask_is():
    large, small = said_of_two()
    assert (large["score"], small["score"]) == pytest.approx((np.log(9), 0), abs=2e-3)
    assert (large["log area"], small["log area"]) == pytest.approx((0, np.log(0.2)))
    assert (large["inside"], small["inside"]) == pytest.approx((1, 0.75))


def test_areas_are_those_in_the_pixels_of_the_network():
    large, _ = said_of_two(scale=2.0)
    assert (large["log area"], large["log scale"]) == pytest.approx((np.log(4), np.log(2)))


def test_a_mask_without_a_point_is_as_small_as_can_be():
    empty = Detections(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([1]), torch.tensor([1.0]), torch.zeros(1, 4, 4))
    assert np.isfinite(features_of(empty, 100.0, 1.0)).all()


def test_the_likeliest_comes_first_with_its_probability_as_its_score():
    judged = rescore(two_detections(), scoring_on("log area", -1.0), 1.0)
    assert judged.labels.tolist() == [2, 1]
    odds = np.pi * np.array([5, 1])  # a disc 20 pixels wide has 314 of them
    assert judged.scores.tolist() == pytest.approx(odds / (1 + odds))
    assert judged.boxes[0].tolist() == [30, 30, 34, 35]


@pytest.mark.parametrize("header", [{}, {"diameter_px": 20}, scoring_on("score", 1.0) | {"diameter_px": None}])
def test_a_model_that_does_not_judge_leaves_the_scores_as_they_are(header):
    found = two_detections()
    assert rescore(found, header, 1.0) is found


def test_nothing_found_is_judged_as_nothing():
    nothing = two_detections().chosen(torch.arange(0))
    assert len(rescore(nothing, scoring_on("score", 1.0), 1.0).scores) == 0


def test_to_be_judged_detections_are_needed_from_a_lower_score_on():
    assert lowest_score(scoring_on("score", 1.0), 0.5) == 0.1
    assert lowest_score({}, 0.5) == 0.5


def test_objects_are_kept_by_the_probability_that_comes_of_it():
    image = np.zeros((64, 64), np.uint8)
    image[10:30, 10:30], image[40:60, 40:60] = 255, 160
    view = NormalizedImage(image, measure_levels(image), False, (1.0, 1.0))
    counts = []
    for header in ({"diameter_px": 20}, scoring_on("score", 0.0, 2.0), scoring_on("score", 0.0, -2.0)):
        detector = BrightDetector(diameter_px=20)
        detector.header = header
        labels, rows, _ = run_job(
            find_objects(detector, view, MaskRCNNOptions(factor=1.0, thresholds=DetectionThresholds(score=0.7)))
        )
        counts.append(labels.max())
        assert len(rows.scores) == labels.max()
    assert counts == [1, 2, 0]


def test_a_header_says_as_many_numbers_as_there_are_features():
    assert len(FEATURES) == N_FEATURES["mask_rcnn"]
    check_fields(MaskRCNNScoring, scoring_on("score", 1.0)["scoring"])
    for lowest in (None, -1, 2.0, float("nan")):
        with pytest.raises(ValueError, match=f"lowest is {lowest}, but it should be"):
            check_fields(MaskRCNNScoring, scoring_on("score", 1.0, lowest=lowest)["scoring"])
