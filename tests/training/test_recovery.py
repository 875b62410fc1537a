"""What an interrupted training had learnt can be had as a model, without the images that it learnt from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import napari_tessera as tessera
from napari_tessera.cli.main import main
from napari_tessera.core.atomic_writes import locked
from napari_tessera.core.errors import InputError, ModelError
from napari_tessera.core.jobs import finish_writing, run_job
from napari_tessera.models.header import CHECKPOINT, LOCK, read_header
from napari_tessera.models.weights import halved, load_model, read_tensors, write_tensors
from napari_tessera.training.recovery import delete_checkpoint, import_checkpoint, interrupted
from napari_tessera.training.session import fine_tuning
from napari_tessera.training.train import given_painting, painted_settings
from tests.helpers.model_bytes import joined

UNET = {"task": "classes", "classes": "dark,bright", "widths": "4,8", "patch": 32, "batch": 1}
MASK_RCNN = {"network": "mask-rcnn", "widths": "4,4,8,8", "patch": 64, "batch": 1}


def halves(side=160):
    """An image, dark and bright, with strokes on both halves."""
    image = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    image[:, side // 2 :] += 9
    paint = np.zeros((side, side), np.uint8)
    for row in range(4, side - 4, 12):
        paint[row : row + 3, 4 : side // 2 - 4], paint[row : row + 3, side // 2 + 4 : side - 4] = 1, 2
    return image, paint


def training(out, **settings):
    """A training on paint, from nothing."""
    image, paint = halves()
    if settings.get("network") == "mask-rcnn":
        paint = np.where(paint == 2, 2 + np.arange(len(paint))[:, None] // 12, paint)
    checked = painted_settings("nothing", {"steps": 40, "validations": 4, "threads": 1, "device": "cpu", **settings})
    return fine_tuning([given_painting(0, image, paint, 2)], out, checked)


def cut_short(out, at, **settings):
    """Take so many steps of a training, and close it, as Cancel does; return its checkpoint."""
    job = training(out, **settings)
    for step in job:
        if isinstance(step.data, dict) and "loss" in step.data and step.data["step"] == at:
            break
    job.close()
    finish_writing()
    return out.with_name(out.name + CHECKPOINT)


@pytest.fixture
def left(own_models):
    """The checkpoint of a training that was cancelled after step 12 of 40, with validations at steps 5 and 10."""
    return cut_short(own_models / "halves.safetensors", 12, **UNET)


def test_what_was_learnt_becomes_a_model(left, own_models):
    (found,) = interrupted()
    assert (found.name, found.step, found.steps, found.path) == ("halves", 12, 40, left)
    entry = run_job(import_checkpoint(left))
    assert entry.path == own_models / "halves.safetensors"
    tensors, told = read_tensors(left)
    assert told["history"]
    net, header = load_model(entry.path)
    for name, value in net.state_dict().items():
        assert torch.equal(value, halved(tensors[f"best/{name}"], name).to(value.dtype))
    assert header["classes"] == ["dark", "bright"]
    assert header["training"]["steps"] == 12
    assert any("interrupted at step 12 of 40" in each for each in header["training"]["warnings"])
    labels = tessera.unet(halves()[0], model="halves", output="classes")
    assert labels.shape == (160, 160)


@pytest.mark.parametrize(("title", "becomes"), [("halves", "other"), ("Halves of cells", "Halves of cells")])
def test_a_title_that_was_but_the_name_follows_it(title, becomes, own_models):
    left = cut_short(own_models / "halves.safetensors", 2, title=title, **UNET)
    entry = run_job(import_checkpoint(left, "other"))
    assert (entry.name, entry.title) == ("other", becomes)


def test_a_mask_rcnn_too(own_models):
    left = cut_short(own_models / "boxes.safetensors", 2, **MASK_RCNN)
    entry = run_job(import_checkpoint(left))
    assert entry.kind == "mask_rcnn"
    load_model(entry.path)


def test_without_a_validation_the_averaged_weights_are_taken(own_models):
    left = cut_short(own_models / "halves.safetensors", 3, **UNET)
    tensors, told = read_tensors(left)
    assert not told["history"]
    net, _ = load_model(run_job(import_checkpoint(left)).path)
    first = next(iter(net.state_dict()))
    assert torch.equal(net.state_dict()[first], halved(tensors[f"average/{first}"], first).float())


def test_a_training_under_way_is_not_listed(left, own_models):
    with locked(own_models / f"halves.safetensors{LOCK}", "taken"):
        assert not interrupted()
    assert interrupted()


def test_a_lock_that_a_killed_training_left_is_none(left, own_models):
    (own_models / f"halves.safetensors{LOCK}").touch()
    assert interrupted()


def test_what_a_model_has_is_neither_listed_nor_kept(left, own_models):
    out = own_models / "halves.safetensors"
    delete_checkpoint(out)
    assert left.exists()
    run_job(import_checkpoint(left))
    assert not interrupted()
    assert left.exists()
    delete_checkpoint(out)
    assert not left.exists()
    assert out.exists()


def test_a_model_with_less_is_not_all_of_it(left, own_models):
    run_job(import_checkpoint(left))
    job = training(own_models / "halves.safetensors", **UNET)
    for step in job:
        if isinstance(step.data, dict) and step.data.get("step") == 14:
            break
    job.close()
    finish_writing()
    assert [each.step for each in interrupted()] == [14]
    delete_checkpoint(own_models / "halves.safetensors")
    assert left.exists()


def test_the_training_goes_on_after_a_model_was_made_of_it(left, own_models):
    run_job(import_checkpoint(left, "by then"))
    trained = run_job(training(own_models / "halves.safetensors", **UNET))
    assert trained.header["training"]["steps"] == 40
    assert not left.exists()


def test_a_name_that_is_taken_is_refused(left):
    run_job(import_checkpoint(left))
    with pytest.raises(ModelError, match="There is a model 'halves' already"):
        run_job(import_checkpoint(left))
    assert run_job(import_checkpoint(left, "halves 2")).name == "halves 2"


def rewritten(path, change):
    """Write a checkpoint again with other words."""
    tensors, told = read_tensors(path)
    change(told)
    write_tensors(path, tensors, told)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told["identity"].update(widths=[4, 8, 16]),
        lambda told: told["identity"].update(widths=[10**6, 10**6]),
        lambda told: told["identity"].update(widths="wide"),
        lambda told: told["identity"].update(network="other", task=3),
        lambda told: told["identity"].update(command="rm"),
        lambda told: told["model"].pop("header"),
        lambda told: told["model"].update(header=7),
        lambda told: told["model"]["header"].update(classes=["a"] * 9),
        lambda told: told["model"]["header"].update(name="../../elsewhere"),
        lambda told: told.update(history=[{"step": "x"}]),
    ],
)
def test_a_file_that_says_what_no_checkpoint_does_is_refused(left, own_models, change):
    rewritten(left, change)
    with pytest.raises((InputError, ModelError), match="halves"):
        run_job(import_checkpoint(left))
    assert [each.name for each in own_models.iterdir()] == [left.name]
    interrupted()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"step": Infinity}', "it holds the number Infinity"),
        ('{"step": 1e999}', "it holds the number 1e999"),
        ('{"step": "many"}', "step is 'many', but it should be a valid integer"),
        ('{"step": -1}', "step is -1, but it should be greater than or equal to 0"),
        ("[" * 40 + "]" * 40, "it is nested too deeply"),
        ("[]", "it is [], but it should be a dictionary"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_models_are_listed(own_models, capsys, text, sentence):
    own_models.mkdir(exist_ok=True)
    path = own_models / f"broken.safetensors{CHECKPOINT}"
    path.write_bytes(joined({"__metadata__": {"tessera": text}}))
    assert not interrupted()
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert "nuclei-unet" in said
    assert f"{path} is damaged, or was not written by Tessera: {sentence}" in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda told: told.update(history=[{"step": 5}]), "history → 0 is .* should have a step and a score"),
        (lambda told: told.update(seconds="long"), "seconds is 'long', but it should be a valid number"),
        (lambda told: told["identity"].update(steps=[40]), r"identity → steps is \[40\], but it should be"),
        (lambda told: told.pop("losses"), "losses is missing"),
    ],
)
def test_a_training_does_not_go_on_from_a_damaged_checkpoint(left, change, sentence):
    rewritten(left, change)
    with pytest.raises(InputError, match=f"halves.safetensors.checkpoint is damaged: {sentence}"):
        run_job(training(left.with_name("halves.safetensors"), **UNET))


@pytest.mark.parametrize("group", ["net", "average", "best", "optimiser.0"])
def test_a_training_does_not_go_on_with_weights_that_are_missing(left, group):
    tensors, told = read_tensors(left)
    first = next(name for name in tensors if name.startswith(f"{group}/"))
    write_tensors(left, {name: each for name, each in tensors.items() if name != first}, told)
    with pytest.raises(InputError, match=r"halves.safetensors.checkpoint is damaged: .*Add --restart"):
        run_job(training(left.with_name("halves.safetensors"), **UNET))


def test_a_checkpoint_of_an_earlier_tessera_says_how_to_go_on(left):
    rewritten(left, lambda told: told.pop("model"))
    with pytest.raises(InputError, match="earlier Tessera"):
        run_job(import_checkpoint(left))
    assert not interrupted()


def test_what_is_no_checkpoint_is_refused(own_models):
    own_models.mkdir(exist_ok=True)
    path = own_models / f"x.safetensors{CHECKPOINT}"
    path.write_bytes(b"\x80\x04K\x01." * 100)
    with pytest.raises(ModelError, match="never opens these"):
        run_job(import_checkpoint(path))
    with pytest.raises(ModelError, match="There is no file"):
        run_job(import_checkpoint(own_models / "y.safetensors.checkpoint"))
    assert not interrupted()


def test_the_command_line_lists_and_imports(left, own_models, capsys):
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert "The training of halves was interrupted at step 12 of 40" in said
    assert f"tessera models import {left}" in said
    assert main(["models", "import", str(left)]) == 0
    assert "Imported halves" in capsys.readouterr().out
    assert json.dumps(read_header(own_models / "halves.safetensors")["training"]["steps"]) == "12"
    assert main(["models"]) == 0
    assert "interrupted" not in capsys.readouterr().out
