"""Detections that a second network has an opinion on."""

import json
import math

import numpy as np
import pytest
import torch

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, ModelError
from napari_tessera.core.jobs import run_job
from napari_tessera.core.record_schema import check_fields
from napari_tessera.engine.cost_estimate import estimate, second_look
from napari_tessera.engine.precompile import second_network
from napari_tessera.inference import rescore_detections
from napari_tessera.inference.detections_to_labels import DetectionThresholds
from napari_tessera.inference.mask_rcnn_predictor import load_detector
from napari_tessera.inference.normalization import measure_levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.rescore_detections import FEATURES, compared, log_odds, rescore_with_unet, unet_features
from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions, find_objects
from napari_tessera.inference.unet_predictor import load_network
from napari_tessera.models import registry as catalogue
from napari_tessera.models.header import N_FEATURES, N_UNET_FEATURES, SecondOpinion
from napari_tessera.models.mask_rcnn.detections import Detections
from napari_tessera.models.weights import read_tensors, save_model, write_tensors
from tests.helpers.model_bytes import small_net
from tests.helpers.tiny_models import BrightDetector, save_bright, small_mask_rcnn

ALL = (*FEATURES, *rescore_detections.UNET_FEATURES)
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
    scoring = limits | regression_on(["any"] * N_FEATURES["unet"], None, 0.0, constant=math.log(3))
    return save_bright(tmp_path / "second.safetensors", size=0.0, diameter_px=USUAL_PX, scoring=scoring)


@pytest.fixture
def two_squares():
    image = np.zeros((96, 160), np.uint8)
    image[20:40, 20:40], image[60:80, 120:140] = 200, 200
    return NormalizedImage(image, measure_levels(image), False, (1.0, 1.0))


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


def test_the_shipped_model_asks_the_shipped_unet():
    header = catalogue.find("nuclei-mask-rcnn").header
    asked = catalogue.second_of(header)
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
    header = {"architecture": {"kind": "mask_rcnn", "channels": 5}, "diameter_px": USUAL_PX}
    assert catalogue.second_of(asking(header, unet_path)).path == unet_path
    assert catalogue.second_of(asking(header, unet_path, sha256="0" * 64)) is None
    assert catalogue.second_of(asking(header, unet_path, model="nobody")) is None
    assert catalogue.second_of(header) is None


@pytest.mark.parametrize(
    "changes", [{"size": None}, {"n_channels": 2}, {"ndim": 3}, {"scoring": None}, {"diameter_px": 40}]
)
def test_a_network_that_cannot_judge_the_same_is_not_asked(tmp_path, unet_path, changes):
    known = {"size": 0.0, "diameter_px": USUAL_PX, "scoring": catalogue.find(unet_path).header["scoring"]}
    other = save_bright(tmp_path / "other.safetensors", **known | changes)
    header = {"architecture": {"kind": "mask_rcnn", "channels": 5}, "diameter_px": USUAL_PX}
    assert catalogue.second_of(asking(header, other)) is None


def test_objects_judged_with_the_second_network_are_told_nothing():
    assert not is_judged_alone(tessera.segment("mask_rcnn", np.zeros((64, 64), np.uint8), diameter=20.0))


def model_asking(path, unet_path, **changes):
    """Save the shipped Mask R-CNN, as one that asks another network."""
    tensors, header = read_tensors(catalogue.find("nuclei-mask-rcnn").path)
    header["second_opinion"] |= {"model": "second", "sha256": catalogue.find(unet_path).sha256()} | changes
    write_tensors(path, tensors, header)
    return str(path)


@pytest.fixture
def importable(tmp_path):
    """Return a U-Net that can give the shipped Mask R-CNN a second opinion, but is not among the models yet."""
    tensors, header = read_tensors(catalogue.find("nuclei-unet").path)
    path = tmp_path / "second.safetensors"
    write_tensors(path, tensors, header | {"name": "second", "card": "Other text, so that it is another file."})
    return path


def is_judged_alone(result):
    return any("It judged them alone" in note for note in result.notes)


def test_the_second_network_may_come_and_go_while_the_program_runs(tmp_path, importable):
    model = model_asking(tmp_path / "asking.safetensors", importable)
    image = np.zeros((64, 64), np.uint8)

    def run():
        return tessera.segment("mask_rcnn", image, model=model, diameter=20.0)

    assert is_judged_alone(run())
    assert load_detector(model).second is None
    catalogue.import_model(importable)
    assert not is_judged_alone(run())
    assert load_detector(model).second is not None
    catalogue.remove_model("second")
    assert is_judged_alone(run())


def test_a_record_says_which_second_network_there_was_and_a_replay_needs_the_same(tmp_path, importable):
    model = model_asking(tmp_path / "asking.safetensors", importable)
    image = np.zeros((64, 64), np.uint8)
    alone = tessera.segment("mask_rcnn", image, model=model, diameter=20.0).provenance
    assert alone["model"]["second"] is None
    tessera.run(alone, image)
    catalogue.import_model(importable)
    both = tessera.segment("mask_rcnn", image, model=model, diameter=20.0).provenance
    assert both["model"]["second"] == {"name": "second", "sha256": catalogue.find("second").sha256()}
    tessera.run(json.loads(json.dumps(both)), image)
    with pytest.raises(ModelError, match=r"without rescoring by 'second'.*which is there now. Remove it"):
        tessera.run(alone, image)
    catalogue.remove_model("second")
    with pytest.raises(ModelError, match=r"with rescoring by 'second'.*missing now. Import its original"):
        tessera.run(both, image)
    del both["model"]["second"]
    assert is_judged_alone(tessera.run(both, image))


def test_the_second_network_is_known_by_its_file_whatever_its_name(tmp_path, importable):
    model = model_asking(tmp_path / "asking.safetensors", importable)
    image = np.zeros((64, 64), np.uint8)
    catalogue.import_model(importable, "other name")
    made = tessera.segment("mask_rcnn", image, model=model, diameter=20.0)
    assert not is_judged_alone(made)
    assert made.provenance["model"]["second"]["name"] == "other name"
    catalogue.remove_model("other name")
    catalogue.import_model(importable)
    tessera.run(made.provenance, image)


@pytest.mark.parametrize("second", [{}, [1], "second", {"name": "second", "sha256": "0" * 64}])
def test_a_record_of_another_second_network_is_called_damaged(tmp_path, importable, second):
    catalogue.import_model(importable)
    model = model_asking(tmp_path / "asking.safetensors", importable)
    image = np.zeros((64, 64), np.uint8)
    made = tessera.segment("mask_rcnn", image, model=model, diameter=20.0).provenance
    made["model"]["second"] = second
    with pytest.raises(InputError, match="The recipe is damaged: its `second`"):
        tessera.run(made, image)


def test_a_second_network_that_is_there_but_cannot_judge_is_told(tmp_path, unet_path):
    model = model_asking(tmp_path / "asking.safetensors", unet_path, model=unet_path.stem)
    catalogue.import_model(unet_path)
    result = tessera.segment("mask_rcnn", np.zeros((64, 64), np.uint8), model=model, diameter=20.0)
    assert any("cannot: it sees other channels or sizes" in note for note in result.notes)


def test_a_model_that_asks_nobody_has_no_second_network_in_its_record():
    made = tessera.segment("unet", np.zeros((64, 64), np.uint8), diameter=20.0).provenance
    assert "second" not in made["model"]


WRONG = [
    ({"model": "../elsewhere"}, "model"), ({"model": 3}, "model"), ({"sha256": "0" * 63}, "sha256"),
    ({"sha256": "G" * 64}, "sha256"), ({"sha256": 0}, "sha256"), ({"centre": [0.0]}, "centre"),
    ({"spread": [1e-320] * len(ALL)}, "spread → 0"), ({"weights": [float("nan")]}, "weights → 0"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "place"), WRONG)
def test_a_second_opinion_that_cannot_be_is_refused_with_what_is_needed(unet_path, changes, place):
    with pytest.raises(ValueError, match=f"^{place} is .*, but it should"):
        check_fields(SecondOpinion, second_of(unet_path, model="second") | changes)


def test_only_a_mask_rcnn_that_judges_and_knows_a_size_has_a_second_opinion(tmp_path, unet_path):
    said = second_of(unet_path, model="second")
    assert len(rescore_detections.UNET_FEATURES) == N_UNET_FEATURES
    scoring = {"lowest": 0.1} | regression_on(["any"] * N_FEATURES["mask_rcnn"], None, 0.0)
    sound = {"scoring": scoring, "diameter_px": 20, "second_opinion": said}
    save_model(tmp_path / "asking.safetensors", small_mask_rcnn(), sound)
    for changes in ({"scoring": None}, {"diameter_px": None}):
        with pytest.raises(ModelError, match=r"second_opinion needs scoring, .* and diameter_px"):
            save_model(tmp_path / "asking.safetensors", small_mask_rcnn(), sound | changes)
    with pytest.raises(ModelError, match=r"second_opinion is \{.*, but it should be None"):
        save_model(tmp_path / "unet.safetensors", small_net(), {"second_opinion": said})
