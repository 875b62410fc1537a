"""Detections that a second network has an opinion on."""

import math

import numpy as np
import pytest
import torch
from tiny_models import BrightDetector, save_bright

import napari_tessera as tessera
from napari_tessera import catalogue
from napari_tessera.forecast import estimate, second_look
from napari_tessera.io.model_file import EVIDENCE, OPINIONS, is_second_opinion
from napari_tessera.jobs import drive
from napari_tessera.large import second_opinion
from napari_tessera.large.detected_volumes import Searching, find_objects
from napari_tessera.large.detection_scores import FEATURES, log_odds
from napari_tessera.large.second_opinion import compared, judged, opinions_on
from napari_tessera.large.view import View
from napari_tessera.nn.detected_objects import Acceptance
from napari_tessera.nn.detecting import load_detector, second_model
from napari_tessera.nn.detections import Detections
from napari_tessera.nn.forward import load_network
from napari_tessera.nn.intensity import measure_levels
from napari_tessera.nn.weights import read_tensors, write_tensors
from napari_tessera.practice import second_network

ALL = (*FEATURES, *second_opinion.FEATURES)
NOTHING = log_odds(0.0)
USUAL_PX = 20


def regression_on(names, feature, weight, constant=0.0):
    """Judge by one feature alone."""
    count = len(names)
    weights = [constant] + [weight * (name == feature) for name in names] + [0.0] * (count * (count + 1) // 2)
    return {"centre": [0.0] * count, "spread": [1.0] * count, "weights": weights}


def boxes_with_full_masks(*boxes, points=4):
    count = len(boxes)
    places = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Detections(
        places, torch.ones(count, dtype=torch.long), torch.full((count,), 0.5), torch.ones(count, points, points)
    )


@pytest.fixture
def unet_path(tmp_path):
    """Return a U-Net that calls objects what is bright, and says of each that it is one with certainty of 3 to 1."""
    limits = {"least": 0.1, "least_of_small": 0.1, "small_share": 0.2}
    scoring = limits | regression_on(["any"] * EVIDENCE["unet"], None, 0.0, constant=math.log(3))
    return save_bright(tmp_path / "second.safetensors", size=0.0, diameter_px=USUAL_PX, scoring=scoring)


@pytest.fixture
def two_squares():
    image = np.zeros((96, 160), np.uint8)
    image[20:40, 20:40], image[60:80, 120:140] = 200, 200
    return View(image, measure_levels(image), False, (1.0, 1.0))


def second_of(path, **others):
    entry = catalogue.find(path)
    said = {"model": str(path), "sha256": entry.sha256()}
    return said | regression_on(ALL, "overlap", 8.0, constant=-4.0) | others


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
    monkeypatch.setattr(second_opinion, "AT_ONCE", 5)
    assert (compared(found, labels, np.linspace(0.1, 0.9, 64)) == whole).all()
    assert whole[:, 0].tolist() == [1.0] * 64


def test_a_second_network_sees_what_is_there_and_what_is_not(unet_path, two_squares):
    found = boxes_with_full_masks([20, 20, 40, 40], [60, 20, 80, 40], [120, 60, 140, 70])
    said = drive(opinions_on(found, two_squares, load_network(unet_path), 1.0))
    assert said[:, 0].tolist() == pytest.approx([1, 0, 0.5], abs=0.06)
    assert said[:, 1].tolist() == pytest.approx([np.log(3), NOTHING, np.log(3)], abs=1e-3)


def test_where_the_parts_lie_does_not_matter(unet_path, two_squares, monkeypatch):
    found = boxes_with_full_masks([20, 20, 40, 40], [60, 20, 80, 40], [120, 60, 140, 70], [130, 70, 170, 110])
    network = load_network(unet_path)
    whole = drive(opinions_on(found, two_squares, network, 0.8))
    monkeypatch.setattr(second_opinion, "OWN_PX", 40)
    monkeypatch.setattr(second_opinion, "MARGIN_PX", 24)
    assert drive(opinions_on(found, two_squares, network, 0.8)) == pytest.approx(whole, abs=0.06)


def test_objects_are_kept_by_what_both_networks_say(unet_path, two_squares):
    detector = BrightDetector(diameter_px=USUAL_PX)
    own = {"lowest": 0.1} | regression_on(FEATURES, "score", 0.0, constant=-1.0)
    detector.header |= {"scoring": own, "second_opinion": second_of(unet_path)}
    counts = []
    for detector.second in (None, load_network(unet_path)):
        labels, rows, _ = drive(find_objects(detector, two_squares, Searching(factor=1.0), Acceptance(score=0.5)))
        counts.append(labels.max())
        assert len(rows.scores) == labels.max()
    assert counts == [0, 2]


def test_nothing_found_needs_no_opinion(unet_path, two_squares):
    detector = BrightDetector(diameter_px=USUAL_PX)
    detector.header |= {"scoring": {"lowest": 0.1} | regression_on(FEATURES, "score", 1.0)}
    detector.header["second_opinion"] = second_of(unet_path)
    detector.second = load_network(unet_path)
    assert len(drive(judged(detector, two_squares, boxes_with_full_masks(), 1.0)).scores) == 0


def test_a_volume_has_opinions_plane_by_plane(unet_path, two_squares):
    detector = BrightDetector(diameter_px=USUAL_PX)
    own = {"lowest": 0.1} | regression_on(FEATURES, "score", 0.0, constant=-1.0)
    detector.header |= {"scoring": own, "second_opinion": second_of(unet_path)}
    detector.second = load_network(unet_path)
    stack = np.stack([two_squares.image] * 2)
    volume = View(stack, two_squares.levels, False, (1.0, 1.0, 1.0))
    labels, _, _ = drive(find_objects(detector, volume, Searching(factor=1.0), Acceptance(score=0.5)))
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert (labels[0] == labels[1]).all()


def test_the_shipped_model_asks_the_shipped_unet():
    header = catalogue.find("nuclei-mask-rcnn").header
    asked = second_model(header)
    assert asked == catalogue.find("nuclei-unet")
    assert load_detector(catalogue.find("nuclei-mask-rcnn").path).second is not None
    assert second_network("nuclei-mask-rcnn") == str(asked.path)
    assert second_network("nuclei-unet") is None
    assert second_network("no such model") is None


def test_a_second_look_takes_time_and_memory_for_a_part():
    header = catalogue.find("nuclei-mask-rcnn").header
    small, large, stack = (
        second_look(header, sides, 1.0, "cpu") for sides in ((512, 512), (8192, 8192), (9, 512, 512))
    )
    assert large.seconds > 100 * small.seconds > 0
    assert small.n_bytes < large.n_bytes < 10 * small.n_bytes
    assert stack.seconds == pytest.approx(9 * small.seconds)
    assert stack.n_bytes == small.n_bytes
    assert second_look(header | {"second_opinion": None}, (512, 512), 1.0, "cpu") is None


def test_a_run_is_foreseen_with_its_second_look():
    known = catalogue.find("nuclei-mask-rcnn").header
    alone, both = (estimate(header, (512, 512), "cpu", {}) for header in (known | {"second_opinion": None}, known))
    assert alone.seconds < both.seconds < 2 * alone.seconds


def asking(header, unet_path, **changes):
    return header | {"second_opinion": second_of(unet_path) | changes}


def test_another_file_of_the_same_name_is_not_asked(unet_path):
    header = {"architecture": {"kind": "mask_rcnn", "channels": 5}}
    assert second_model(asking(header, unet_path)).path == unet_path
    assert second_model(asking(header, unet_path, sha256="0" * 64)) is None
    assert second_model(asking(header, unet_path, model="nobody")) is None
    assert second_model(header) is None


@pytest.mark.parametrize("changes", [{"size": None}, {"n_channels": 2}, {"ndim": 3}, {"scoring": None}])
def test_a_network_that_cannot_judge_the_same_is_not_asked(tmp_path, unet_path, changes):
    known = {"size": 0.0, "diameter_px": USUAL_PX, "scoring": catalogue.find(unet_path).header["scoring"]}
    other = save_bright(tmp_path / "other.safetensors", **known | changes)
    header = {"architecture": {"kind": "mask_rcnn", "channels": 5}}
    assert second_model(asking(header, other)) is None


def test_objects_judged_without_the_second_network_are_told_so(tmp_path):
    tensors, header = read_tensors(catalogue.find("nuclei-mask-rcnn").path)
    header["second_opinion"]["sha256"] = "0" * 64
    write_tensors(tmp_path / "alone.safetensors", tensors, header)
    image = np.zeros((64, 64), np.uint8)
    result = tessera.segment("mask_rcnn", image, model=str(tmp_path / "alone.safetensors"), diameter=20.0)
    assert any("It judged them alone" in note for note in result.notes)
    result = tessera.segment("mask_rcnn", image, diameter=20.0)
    assert not any("judged" in note for note in result.notes)


WRONG = [
    {"model": "../elsewhere"}, {"model": 3}, {"sha256": "0" * 63}, {"sha256": "G" * 64}, {"sha256": 0},
    {"centre": [0.0]}, {"spread": [0.0] * len(ALL)}, {"weights": [float("nan")]},
]  # fmt: skip


def test_a_header_says_as_many_numbers_as_both_networks_say(unet_path):
    header = {"scoring": {}, "diameter_px": 20}
    said = second_of(unet_path, model="second")
    assert len(second_opinion.FEATURES) == OPINIONS
    assert is_second_opinion(None, {}, "unet")
    assert is_second_opinion(said, header, "mask_rcnn")
    assert not is_second_opinion(said, header, "unet")
    assert not is_second_opinion(said, header | {"scoring": None}, "mask_rcnn")
    assert not is_second_opinion(said, header | {"diameter_px": None}, "mask_rcnn")
    assert not is_second_opinion([], header, "mask_rcnn")
    for changes in WRONG:
        assert not is_second_opinion(said | changes, header, "mask_rcnn")
