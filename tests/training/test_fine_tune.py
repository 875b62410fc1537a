"""Training on paint from Python and from the command line: one engine, one result."""

import numpy as np
import pytest
from PIL import Image

import napari_tessera as tessera
from napari_tessera.cli.main import main
from napari_tessera.core.errors import InputError, ParameterError, TesseraError
from napari_tessera.core.jobs import run_job
from napari_tessera.models.header import N_FEATURES, read_header
from napari_tessera.training.session import fine_tuning
from napari_tessera.training.settings import checked_settings
from napari_tessera.training.train import free_name, given_painting, painted_settings, paired
from tests.helpers.disc_folder import same_weights
from tests.helpers.tiny_models import save_bright

COUNT = N_FEATURES["unet"]
N_WEIGHTS = 1 + COUNT + COUNT * (COUNT + 1) // 2
QUICK = {"steps": 3, "patch": 32, "batch": 1, "validations": 2, "threads": 1}
TINY = QUICK | {"widths": "4,8", "start_from": "nothing", "task": "classes"}


@pytest.fixture
def strokes():
    """A dark and a bright half with a stroke in each."""
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(60, 9, (64, 80)) + 120 * (np.arange(80) > 40), 0, 255).astype(np.uint8)
    paint = np.zeros(image.shape, np.uint8)
    paint[30:33, 5:30], paint[30:33, 50:75] = 1, 2
    return image, paint


def test_the_command_gives_the_same_weights_as_python(strokes, tmp_path):
    for name, array in zip(("image", "paint"), strokes, strict=True):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    tessera.fine_tune(*strokes, one, **TINY)
    options = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    files = [str(tmp_path / f"{name}.png") for name in ("image", "paint")]
    assert main(["train", *files, "-o", str(other), "--painted", "--quiet", *options]) == 0
    assert same_weights(one, other)


def test_objects_are_learnt_from_a_model_and_found(tmp_path):
    image, paint = np.full((64, 64), 10, np.uint8), np.zeros((64, 64), np.int32)
    for number in range(4):
        y, x = 30 * (number // 2) + 6, 30 * (number % 2) + 6
        paint[y - 4 : y + 20, x - 4 : x + 20] = 1
        image[y : y + 16, x : x + 16], paint[y : y + 16, x : x + 16] = 200, 2 + number
    start = save_bright(tmp_path / "start.safetensors", size=0.0, diameter_px=18.0,
                        normalisation={"kind": "colours", "count": 3})  # fmt: skip
    trained = tessera.fine_tune(image, paint, tmp_path / "tuned.safetensors", start_from=str(start), **QUICK)
    assert trained.header["diameter_px"] == 18
    assert len(trained.header["training"]["settings"]["start"]["sha256"]) == 64
    assert tessera.unet(image, model=str(trained.path), diameter=18).max() == 4


def test_objects_are_judged_as_by_the_model_that_was_started_from(tmp_path):
    image, paint = np.full((64, 64), 10, np.uint8), np.ones((64, 64), np.int32)
    image[20:40, 20:40], paint[20:40, 20:40] = 200, 2
    limits = {"least": 0.1, "least_of_small": 0.5, "small_share": 0.2}
    scoring = limits | {"centre": [0.0] * COUNT, "spread": [1.0] * COUNT, "weights": [0.5] * N_WEIGHTS}
    start = save_bright(tmp_path / "start.safetensors", size=0.0, diameter_px=18.0, scoring=scoring,
                        normalisation={"kind": "colours", "count": 3})  # fmt: skip
    tuned = [
        tessera.fine_tune(image, each, tmp_path / f"{task}.safetensors", start_from=str(start), task=task, **QUICK)
        for task, each in (("objects", paint), ("classes", np.minimum(paint, 2)))
    ]
    assert [each.header.get("scoring") for each in tuned] == [scoring, None]


def test_what_was_advised_is_in_the_record(strokes, tmp_path):
    trained = tessera.fine_tune(*strokes, tmp_path / "model.safetensors", **TINY)
    assert any("too few for validation" in said for said in trained.header["training"]["warnings"])


def test_a_training_stopped_at_once_writes_a_model_and_can_go_on(strokes, tmp_path):
    out = tmp_path / "model.safetensors"
    painting = given_painting(0, *strokes, 2)
    stopped = run_job(
        fine_tuning([painting], out, checked_settings(TINY | {"painted": True}), should_stop=lambda: True)
    )
    assert not stopped.is_finished
    assert tessera.fine_tune(*strokes, out, **TINY).is_finished


def test_more_images_than_paint_is_refused(strokes):
    with pytest.raises(ParameterError, match="2 images, but 1 `painted`"):
        paired([strokes[0]] * 2, [strokes[1]])


def test_no_image_at_all_is_refused():
    with pytest.raises(ParameterError, match="`images` is empty"):
        tessera.fine_tune([], [])


@pytest.mark.parametrize("image", [None, np.ones((64, 80)) * 1j, [[1, 2]]])
def test_what_is_no_image_is_refused(strokes, image):
    with pytest.raises(TesseraError, match=r"the image|1 images"):
        tessera.fine_tune(image, strokes[1], **TINY)


@pytest.mark.parametrize("spacing", [(), 0, "wide", (1, 2), (1, 0, 1)])
def test_a_pixel_size_that_is_none_is_refused(strokes, spacing):
    stacks = [np.stack([each] * 2) for each in strokes]
    with pytest.raises(InputError, match="`spacing`"):
        tessera.fine_tune(*stacks, spacing=spacing, **TINY | {"ndim": 3})


def test_one_class_alone_has_no_score_and_it_is_said(tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 200, (300, 300)).astype(np.uint8)
    paint = np.zeros((300, 300), np.uint8)
    paint[::16, ::3] = 2
    for name, array in (("image", image), ("paint", paint)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    out = tmp_path / "model.safetensors"
    options = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    files = [str(tmp_path / f"{name}.png") for name in ("image", "paint")]
    assert main(["train", *files, "-o", str(out), "--painted", *options]) == 0
    said, record = capsys.readouterr(), read_header(out)["training"]
    assert (record["scores"], record["validations"]) == ({}, [])
    assert any("The annotation has only one class" in each for each in record["warnings"])
    assert "The annotation has only one class" in said.err
    assert "the weights of step 3, no score" in said.out
    assert "No score" in (tmp_path / "model.report.html").read_text(encoding="utf-8")


def test_an_image_may_be_given_once_for_each_layer_of_its_paint(strokes):
    image, paint = strokes
    assert len(paired([image, image], [paint, paint])) == 2


def test_nothing_painted_is_refused_before_anything_is_written(strokes, tmp_path):
    with pytest.raises(InputError, match="Nothing is painted"):
        tessera.fine_tune(strokes[0], np.zeros_like(strokes[1]), tmp_path / "model.safetensors", **TINY)
    assert not (tmp_path / "model.safetensors").exists()


def test_models_without_a_path_get_a_free_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path))
    assert free_name(checked_settings({})).name == "fine-tuned.safetensors"
    (tmp_path / "fine-tuned.safetensors").touch()
    assert free_name(checked_settings({})).name == "fine-tuned-2.safetensors"
    assert free_name(checked_settings({"name": "glands"})).name == "glands.safetensors"


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({}, "cells"),
        ({"network": "mask-rcnn"}, "nuclei-mask-rcnn"),
        ({"ndim": 3}, "nothing"),
        ({"task": "classes"}, "nothing"),
    ],
)
def test_objects_in_planes_are_learnt_from_the_shipped_model_and_all_else_from_nothing(settings, start):
    assert painted_settings(None, settings).start_from == start
    assert checked_settings({"painted": True} | settings).start_from == start
    assert checked_settings(settings).start_from == "nothing"


def test_the_model_to_start_from_is_the_one_that_was_asked_for():
    assert painted_settings("other", {"task": "classes"}).start_from == "other"
