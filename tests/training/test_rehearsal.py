"""Rehearsal: what a shipped model has learnt is learnt again beside what is painted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.training import rehearsal
from napari_tessera.training.config import RATE_FOR_KNOWN, RATE_FOR_NEW, Schedule
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.data.example import object_example
from napari_tessera.training.pretrained import load_pretrained, read_start
from napari_tessera.training.rehearsal import (
    KNOWN,
    known_kinds,
    parts_of_batch,
    rate_by_ratio,
    read_examples,
    share_of_rate_for,
    shipped_examples,
    with_rehearsal,
    write_examples,
)
from napari_tessera.training.resolve import rehearsal_for, resolve_config
from napari_tessera.training.settings import USUAL_STARTS, checked_settings
from napari_tessera.training.unet_task import new_network, task_of

SHIPPED = ("nuclei-unet", "nuclei-mask-rcnn")


def started(model, **settings):
    network = "mask-rcnn" if "rcnn" in model else "unet"
    checked = checked_settings({"start_from": model, "painted": True, "network": network} | settings)
    return checked, read_start(checked)


def painted():
    labels = np.zeros((64, 64), np.int32)
    labels[20:36, 24:40] = 2
    labels[10:20, 24:40] = 1
    return object_example(np.where(labels > 1, 200, 10).astype(np.uint8), labels)


def plan_from(model, **settings):
    checked, start = started(model, patch=64, precision="full", **settings)
    return resolve_config(checked, Dataset([painted()], [], "colours", 3, 2, ""), "cpu", start), start


@pytest.mark.parametrize("model", SHIPPED)
def test_half_of_the_patches_are_rehearsed_where_a_shipped_model_learns_from_paint(model):
    plan, _ = plan_from(model)
    assert plan.rehearsal == 0.5
    assert plan.schedule().keeps_statistics


def test_nothing_is_rehearsed_from_full_labels_or_for_classes_or_from_nothing():
    assert rehearsal_for(*started("nuclei-unet", painted=False)) == (0, ())
    assert rehearsal_for(*started("nuclei-unet", task="classes")) == (0, ())
    assert rehearsal_for(checked_settings({"painted": True}), None) == (0, ())


def test_what_cannot_be_rehearsed_is_refused():
    with pytest.raises(ParameterError, match="only a shipped model"):
        rehearsal_for(checked_settings({"rehearsal": 0.5}), None)


def test_a_share_that_is_given_is_taken():
    assert rehearsal_for(*started("nuclei-unet", rehearsal=0.2))[0] == 0.2
    assert rehearsal_for(*started("nuclei-unet", rehearsal=0)) == (0, ())


def known_with(**training):
    _, start = started("nuclei-unet")
    return known_kinds(replace(start, header={**start.header, "training": training}))


def test_a_model_knows_the_kinds_of_the_images_that_it_was_trained_on():
    of_nuclei = known_kinds(started("nuclei-unet")[1])
    assert len(of_nuclei) == 8
    assert all(kind.startswith("nuclei") for kind in of_nuclei)
    assert of_nuclei == known_kinds(started("nuclei-mask-rcnn")[1])
    (kind,) = known_with(images={"train": ["bacteria_fluo_ecoli-001", "001"]})
    assert kind.startswith("bacteria")


def test_the_usual_start_knows_all_kinds():
    kinds = dict.fromkeys(each.group for each in read_examples(rehearsal.SHIPPED_EXAMPLES))
    assert known_kinds(started(USUAL_STARTS["unet"])[1]) == tuple(kinds)


def test_a_model_that_rehearsed_still_knows_and_others_do_not():
    assert known_with(images={"train": ["own"]}, settings={"rehearsed": ["nuclei stained 256"]}) == (
        "nuclei stained 256",
    )
    assert known_with(images={"train": ["001"]}, settings={"rehearsal": 0.0}) == known_with() == ()


def test_the_record_of_a_training_names_the_kinds_that_were_rehearsed():
    plan, start = plan_from("nuclei-unet")
    assert plan.as_json()["rehearsed"] == list(known_kinds(start))
    assert {each.group for each in shipped_examples(plan.rehearsed)} == set(plan.rehearsed)


@pytest.mark.parametrize(
    ("batch", "share", "parts"),
    [(4, 0.5, (2, 2)), (8, 0.25, (6, 2)), (4, 0.01, (3, 1)), (4, 0.9, (1, 3)), (1, 0.5, (1, 1))],
)
def test_both_have_a_patch_at_least(batch, share, parts):
    assert parts_of_batch(batch, share) == parts


def test_losses_of_new_and_known_are_weighed_by_their_shares():
    draw, parts = with_rehearsal(
        lambda rng: 2.0, lambda rng: 10.0, lambda net, value: {"a": torch.tensor(value), "b": torch.tensor(1.0)}, 0.25
    )
    found = parts(nn.Identity(), draw(np.random.default_rng(0)))
    assert {name: float(part) for name, part in found.items()} == {"a": 1.5, "b": 0.75, KNOWN: 2.75}


def test_shipped_examples_have_objects_of_all_kinds():
    examples = read_examples(rehearsal.SHIPPED_EXAMPLES)
    sets = ["nuclei", "phase_cells_usiigaci", "yeast_phase", "yeast_brightfield_traps", "bacteria_fluo_ecoli"]
    sets += ["em_chloroplasts", "em_axon_myelin"]
    assert {each.group.split()[0] for each in examples} == set(sets)
    assert all(len(each.places) and each.diameter_px for each in examples)
    assert sum(each.levels.inverted for each in examples) > 10
    assert rehearsal.SHIPPED_EXAMPLES.stat().st_size < 4e6


def test_a_window_keeps_what_was_measured_of_its_image(tmp_path):
    example = replace(painted(), name="a", group="discs")
    write_examples(tmp_path / "a.npz", [(example, (slice(0, 28), slice(10, 60)))])
    (read,) = read_examples(tmp_path / "a.npz")
    assert read.image.shape == read.labels.shape == (28, 50)
    assert (read.name, read.group) == ("a", "discs")
    assert (read.levels, read.diameter_px) == (example.levels, example.diameter_px)
    assert read.sizes.tolist() == example.sizes.tolist()


@pytest.mark.parametrize("model", SHIPPED)
def test_a_batch_of_both_has_a_loss_and_a_gradient(model):
    plan, start = plan_from(model)
    net = new_network(plan)
    load_pretrained(net, start, plan.task, [], 0)
    draw, loss_parts = task_of(plan, [painted()], torch.device("cpu"))
    parts = loss_parts(net, draw(np.random.default_rng(0)))
    sum(parts.values()).backward()
    assert KNOWN in parts
    assert all(torch.isfinite(each.grad).all() for each in net.parameters() if each.grad is not None)


@pytest.mark.parametrize(("loss", "share"), [(1.0, RATE_FOR_KNOWN), (2.0, RATE_FOR_KNOWN), (4.1, RATE_FOR_NEW)])
def test_what_the_model_does_badly_is_learnt_at_once(loss, share):
    draw, parts = with_rehearsal(
        lambda rng: loss, lambda rng: 1.0, lambda net, value: {"loss": torch.tensor(value)}, 0.5
    )
    found = run_job(share_of_rate_for(nn.Conv2d(1, 1, 1), draw, parts, Schedule(10), 0.5))
    assert found == pytest.approx(share)


def test_what_the_model_half_knows_is_learnt_at_a_rate_between():
    rates = [rate_by_ratio(ratio) for ratio in (2.2, 3.0, 3.8)]
    assert RATE_FOR_KNOWN < rates[0] < rates[1] < rates[2] < RATE_FOR_NEW
