"""Strokes that are held back are learnt in the end, too; what is said of the scores stays true."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from napari_tessera.core.jobs import run_job
from napari_tessera.models.weights import load_model
from napari_tessera.training.annotations.annotation import AnnotationSampling
from napari_tessera.training.annotations.examples import painted_examples
from napari_tessera.training.annotations.read import painting_of
from napari_tessera.training.report import describe_scores
from tests.training.test_recovery import UNET, halves, training


def examples(task="classes", share=0.15, paint=None):
    image, strokes = halves()
    sampling = AnnotationSampling(task, 2, 64, 32.0 if task == "objects" else None, "channels", share, 0, None)
    return run_job(painted_examples([painting_of("halves", image, strokes if paint is None else paint, 2)], sampling))


def painted_px(examples):
    return sum(np.count_nonzero(each.labels) for each in examples)


def test_everything_is_all_paint():
    found = examples()
    assert painted_px(found.learn) < painted_px(found.everything) == np.count_nonzero(halves()[1])
    assert painted_px(found.check) > 0
    shown = np.concatenate([each.labels.ravel() for each in found.everything])
    assert set(np.unique(shown)) == {0, 1, 2}


def test_an_image_is_held_in_memory_once():
    found = examples()
    assert found.everything[0].image is found.learn[0].image


def test_places_to_draw_from_are_those_of_all_paint():
    found = examples()
    assert len(found.everything[0].places) >= len(found.learn[0].places)
    labels = found.everything[0].labels
    assert all(labels[tuple(place.astype(int))] > 0 for place in found.everything[0].places)


@pytest.mark.parametrize(("task", "share"), [("classes", 0.0), ("objects", 0.15)])
def test_there_is_no_more_than_what_is_learnt_where_strokes_are_not_held_back(task, share):
    paint = np.where(halves()[1] > 1, 2 + np.arange(160)[:, None] // 12, halves()[1])
    assert not examples(task, share, paint if task == "objects" else None).everything


@pytest.fixture
def trained(tmp_path):
    return run_job(training(tmp_path / "a.safetensors", **UNET))


def test_it_is_said_which_step_was_scored(trained):
    record = trained.header["training"]
    assert (record["best_step"], record["scored_step"]) == (40, 20)
    assert max(each["step"] for each in record["validations"]) == 20
    assert re.search(r"The validation set has [\d,]+ pixels. The scores are those of step 20", describe_scores(record))
    assert "those of step 20" in trained.report.read_text()
    assert "those of step 20" in trained.header["card"]


def test_with_patience_the_best_by_validation_is_kept(tmp_path):
    record = run_job(training(tmp_path / "a.safetensors", patience=50, **UNET)).header["training"]
    assert record["validations"][-1]["step"] == 40
    assert record["best_step"] == record["scored_step"]
    assert "The scores are those" not in describe_scores(record)


def test_what_was_held_back_makes_a_difference(trained, tmp_path):
    other = run_job(training(tmp_path / "b.safetensors", patience=50, **UNET))
    ours, theirs = (load_model(each.path)[0].state_dict() for each in (trained, other))
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("at", [13, 20, 21, 33])
def test_a_training_that_was_interrupted_ends_with_the_same_weights(trained, tmp_path, at):
    out = tmp_path / "b.safetensors"
    job = training(out, **UNET)
    for step in job:
        if isinstance(step.data, dict) and "loss" in step.data and step.data["step"] == at:
            break
    job.close()
    again = run_job(training(out, **UNET))
    ours, theirs = (load_model(each.path)[0].state_dict() for each in (trained, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert again.header["training"]["scores"] == trained.header["training"]["scores"]


def test_stopped_after_all_is_learnt_the_last_weights_are_kept(tmp_path):
    image, paint = halves()
    from napari_tessera.training.session import fine_tuning
    from napari_tessera.training.train import given_painting, painted_settings

    settings = painted_settings("nothing", {"steps": 40, "validations": 4, "threads": 1, "device": "cpu", **UNET})
    asked = iter(range(10**6))
    job = fine_tuning([given_painting(0, image, paint, 2)], tmp_path / "a.safetensors", settings,
                      should_stop=lambda: next(asked) >= 28)  # fmt: skip
    record = run_job(job).header["training"]
    assert 20 < record["steps"] < 40
    assert record["best_step"] == record["steps"]
    assert record["scored_step"] == 20


def test_of_images_that_are_painted_fully_enough_is_left_to_be_held_back_to_the_end():
    paint = np.where(np.arange(160) < 80, 1, 2) * np.ones((160, 1), np.uint8)
    found = examples(paint=paint.astype(np.uint8))
    assert found.check
    assert not found.everything
