"""Which second network a Mask R-CNN uses: found by its file, foreseen, recorded, refused."""

import json

import numpy as np
import pytest

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, ModelError
from napari_tessera.core.record_schema import check_fields
from napari_tessera.engine.cost_estimate import estimate, second_look
from napari_tessera.engine.precompile import second_network
from napari_tessera.inference import rescore_detections
from napari_tessera.inference.predictor import load_detector
from napari_tessera.models import registry as catalogue
from napari_tessera.models.header import N_FEATURES, N_UNET_FEATURES, SecondOpinion
from napari_tessera.models.weights import read_tensors, save_model, write_tensors
from tests.helpers.model_bytes import small_net
from tests.helpers.second_network import ALL, USUAL_PX, regression_on, save_second, second_of
from tests.helpers.tiny_models import save_bright, small_mask_rcnn


@pytest.fixture
def unet_path(tmp_path):
    return save_second(tmp_path)


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
