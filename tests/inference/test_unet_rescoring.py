"""Detections are compared with the objects of a U-Net, and kept by what both networks found."""

import numpy as np
import pytest
import torch

from napari_tessera.core.jobs import run_job
from napari_tessera.inference import rescore_detections
from napari_tessera.inference.detections_to_labels import DetectionThresholds
from napari_tessera.inference.normalization import measure_levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.predictor import load_network
from napari_tessera.inference.rescore_detections import FEATURES, compared, log_odds, rescore_with_unet, unet_features
from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions, find_objects
from napari_tessera.models.mask_rcnn.detections import Detections
from tests.helpers.second_network import USUAL_PX, regression_on, save_second, second_of
from tests.helpers.tiny_models import BrightDetector

NOTHING = log_odds(0.0)


def boxes_with_full_masks(*boxes, points=4):
    count = len(boxes)
    places = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Detections(
        places, torch.ones(count, dtype=torch.long), torch.full((count,), 0.5), torch.ones(count, points, points)
    )


@pytest.fixture
def unet_path(tmp_path):
    return save_second(tmp_path)


@pytest.fixture
def two_squares():
    image = np.zeros((96, 160), np.uint8)
    image[20:40, 20:40], image[60:80, 120:140] = 200, 200
    return NormalizedImage(image, measure_levels(image), False, (1.0, 1.0))


def test_a_detection_is_compared_with_the_object_that_shares_most_with_it():
    labels = np.zeros((20, 20), int)
    labels[0:8, 0:2], labels[0:8, 2:8] = 1, 2
    said = compared(boxes_with_full_masks([0, 0, 8, 8], [12, 12, 16, 16]), labels, np.array([0.9, 0.25]))
    assert said[0].tolist() == pytest.approx([48 / 64, np.log(1 / 3)], abs=1e-3)
    assert said[1].tolist() == pytest.approx([0, NOTHING])


def test_of_objects_that_share_as_much_the_first_counts():
    labels = np.zeros((8, 8), int)
    labels[:, :4], labels[:, 4:] = 1, 2
    assert compared(boxes_with_full_masks([0, 0, 8, 8]), labels, np.array([0.5, 0.9]))[0, 1] == pytest.approx(0)


def test_an_object_speaks_for_the_detection_that_overlaps_it_most():
    labels = np.zeros((20, 20), int)
    labels[0:8, 0:8], labels[10:18, 0:8] = 1, 2
    found = boxes_with_full_masks([0, 0, 8, 6], [0, 0, 8, 8], [0, 0, 8, 8], [0, 10, 8, 18])
    said = compared(found, labels, np.array([0.9, 0.75]))
    assert said[:, 0].tolist() == pytest.approx([0.75, 1, 1, 1])
    assert said[:, 1].tolist() == pytest.approx([NOTHING, np.log(9), NOTHING, np.log(3)], abs=1e-2)


def test_detections_on_both_sides_of_where_parts_meet_do_not_share_an_object(unet_path, two_squares, monkeypatch):
    monkeypatch.setattr(rescore_detections, "OWN_PX", 30)
    monkeypatch.setattr(rescore_detections, "MARGIN_PX", 24)
    found = boxes_with_full_masks([20, 20, 39, 40], [22, 20, 40, 40])
    said = run_job(unet_features(found, two_squares, load_network(unet_path), 1.0))
    assert said[:, 1].tolist() == pytest.approx([np.log(3), NOTHING], abs=1e-3)


def test_only_points_of_the_mask_count():
    found = boxes_with_full_masks([0, 0, 8, 8])
    found.masks[0, :, 2:] = 0.4
    labels = np.zeros((8, 8), int)
    labels[:, :4], labels[:, 4:] = 1, 2
    assert compared(found, labels, np.array([0.5, 0.9]))[0].tolist() == pytest.approx([1, 0])


def test_a_box_beyond_the_edge_is_compared_with_what_is_there():
    labels = np.ones((8, 8), int)
    said = compared(boxes_with_full_masks([6, 6, 12, 12], [3, 3, 3, 3]), labels, np.array([0.5]))
    assert np.isfinite(said).all()


def test_many_detections_are_compared_in_parts(monkeypatch):
    labels = np.arange(1, 65).reshape(8, 8)
    found = boxes_with_full_masks(*([x, y, x + 1, y + 1] for y in range(8) for x in range(8)))
    whole = compared(found, labels, np.linspace(0.1, 0.9, 64))
    monkeypatch.setattr(rescore_detections, "COMPARED_AT_ONCE", 5)
    assert (compared(found, labels, np.linspace(0.1, 0.9, 64)) == whole).all()
    assert whole[:, 0].tolist() == [1.0] * 64


def test_a_second_network_sees_what_is_there_and_what_is_not(unet_path, two_squares):
    found = boxes_with_full_masks([20, 20, 40, 40], [60, 20, 80, 40], [120, 60, 140, 70])
    said = run_job(unet_features(found, two_squares, load_network(unet_path), 1.0))
    assert said[:, 0].tolist() == pytest.approx([1, 0, 0.5], abs=0.06)
    assert said[:, 1].tolist() == pytest.approx([np.log(3), NOTHING, np.log(3)], abs=1e-3)


def test_where_the_parts_lie_does_not_matter(unet_path, two_squares, monkeypatch):
    found = boxes_with_full_masks([20, 20, 40, 40], [60, 20, 80, 40], [120, 60, 140, 70], [130, 70, 170, 110])
    network = load_network(unet_path)
    whole = run_job(unet_features(found, two_squares, network, 0.8))
    monkeypatch.setattr(rescore_detections, "OWN_PX", 40)
    monkeypatch.setattr(rescore_detections, "MARGIN_PX", 24)
    assert run_job(unet_features(found, two_squares, network, 0.8)) == pytest.approx(whole, abs=0.06)


def test_objects_are_kept_by_what_both_networks_say(unet_path, two_squares):
    detector = BrightDetector(diameter_px=USUAL_PX)
    own = {"lowest": 0.1} | regression_on(FEATURES, "score", 0.0, constant=-1.0)
    detector.header |= {"scoring": own, "second_opinion": second_of(unet_path)}
    counts = []
    for detector.second in (None, load_network(unet_path)):
        labels, rows, _ = run_job(
            find_objects(detector, two_squares, MaskRCNNOptions(factor=1.0, thresholds=DetectionThresholds(score=0.5)))
        )
        counts.append(labels.max())
        assert len(rows.scores) == labels.max()
    assert counts == [0, 2]


def test_nothing_found_needs_no_opinion(unet_path, two_squares):
    detector = BrightDetector(diameter_px=USUAL_PX)
    detector.header |= {"scoring": {"lowest": 0.1} | regression_on(FEATURES, "score", 1.0)}
    detector.header["second_opinion"] = second_of(unet_path)
    detector.second = load_network(unet_path)
    assert len(run_job(rescore_with_unet(detector, two_squares, boxes_with_full_masks(), 1.0)).scores) == 0


def test_a_volume_has_opinions_plane_by_plane(unet_path, two_squares):
    detector = BrightDetector(diameter_px=USUAL_PX)
    own = {"lowest": 0.1} | regression_on(FEATURES, "score", 0.0, constant=-1.0)
    detector.header |= {"scoring": own, "second_opinion": second_of(unet_path)}
    detector.second = load_network(unet_path)
    stack = np.stack([two_squares.image] * 2)
    volume = NormalizedImage(stack, two_squares.levels, False, (1.0, 1.0, 1.0))
    labels, _, _ = run_job(
        find_objects(detector, volume, MaskRCNNOptions(factor=1.0, thresholds=DetectionThresholds(score=0.5)))
    )
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert (labels[0] == labels[1]).all()
