"""Starting from the published Mask R-CNN: weights drawn at random have its names and shapes, so that none is needed."""

import hashlib
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from napari_tessera import mask_rcnn
from napari_tessera.core.errors import FileError, ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.models.mask_rcnn import coco as coco_weights
from napari_tessera.models.weights import load_mask_rcnn, save_model
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.pretrained import (
    COCO,
    coco_architecture,
    load_pretrained,
    read_coco_start,
    with_own_channels,
)
from napari_tessera.training.resolve import resolve_config
from napari_tessera.training.settings import checked_settings
from napari_tessera.training.unet_task import learn, new_network
from tests.helpers.coco_model import DEEPER, coco_shapes
from tests.training.test_tasks import scene

DEEPEST = "backbone.body.layer3.22.conv1.weight"
SCORES = "roi_heads.box_predictor.cls_score.weight"
FIRST = "backbone.body.conv1.weight"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Write a file that could be the published one: its path, and what is in it."""
    path = tmp_path_factory.mktemp("coco") / "published.pth"
    rng = torch.Generator().manual_seed(0)
    weights = {name: drawn(name, shape, rng) for name, shape in coco_shapes().items()}
    torch.save(weights, path)
    return path, weights


def drawn(name, shape, rng):
    """Draw weights with which features neither fade nor explode."""
    if len(shape) > 1:
        return torch.randn(shape, generator=rng) * (2 / math.prod(shape[1:])) ** 0.5
    is_one = name.endswith("running_var") or ("bn" in name and name.endswith("weight"))
    return torch.full(shape, 0.2 if name.endswith("bn3.weight") else float(is_one))


@pytest.fixture
def trusted(published, monkeypatch):
    """Take that file for the published one."""
    path, _ = published
    monkeypatch.setattr(coco_weights, "HASH", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    return str(path)


def settings(start_from, **others):
    return checked_settings({"network": "mask-rcnn", "start_from": start_from, "diameter": 20, "patch": 64} | others)


def begun(start_from):
    """Return the plan of a short training, and how its network begins."""
    asked = settings(start_from, batch=1, steps=1, precision="full")
    start = read_coco_start(asked)
    plan = resolve_config(asked, Dataset([], [], "colours", 3, 2, ""), "cpu", start)
    return plan, partial(load_pretrained, start=start, task="objects", classes=(), seed=0)


def test_the_network_begins_with_the_published_weights_and_a_head_for_objects(trusted, published):
    plan, begin = begun(trusted)
    net = new_network(plan)
    begin(net)
    own, (_, weights) = net.state_dict(), published
    assert own[SCORES].shape == (2, 1024)
    assert torch.equal(own[SCORES][0], weights[SCORES][0])
    others = [name for name in weights if name != FIRST and own[name].shape == weights[name].shape]
    assert len(others) == len(weights) - 7
    assert all(torch.equal(own[name], weights[name]) for name in others)


def test_the_record_names_the_file_by_its_digest(trusted, published):
    start = read_coco_start(settings(trusted))
    assert start.as_json()["model"] == COCO
    assert start.sha256 == hashlib.sha256(published[0].read_bytes()).hexdigest()


def test_other_channels_than_colours_count_for_nothing_at_first():
    colours, more = torch.rand(1, 3, 8, 8), torch.rand(1, 2, 8, 8)
    old = torch.rand(4, 3, 7, 7)
    new = with_own_channels({FIRST: old})[FIRST]
    torch.testing.assert_close(conv2d(torch.cat([colours, more], 1), new), conv2d(colours, old))


def test_colours_are_normalised_as_in_the_published_network():
    net = coco_architecture(20)
    assert net.settings["image_mean"] == (0.485, 0.456, 0.406, 0, 0)
    assert net.settings["image_std"] == (0.229, 0.224, 0.225, 1, 1)


def test_it_learns_all_of_the_network(trusted, published):
    plan, begin = begun(trusted)
    learnt = run_job(learn([scene()], plan, begin=begin)).net.state_dict()
    for name in ("backbone.body.layer1.0.conv1.weight", "rpn.head.conv.0.0.weight", "roi_heads.box_head.fc6.weight"):
        assert 0 < (learnt[name] - published[1][name]).abs().max() < 0.01


def test_a_network_with_resnet101_is_learnt_from_its_file_and_found_in_that_of_the_model(tmp_path):
    rng = torch.Generator().manual_seed(0)
    weights = {name: drawn(name, shape, rng) for name, shape in coco_shapes(3, DEEPER).items()}
    torch.save(weights, tmp_path / "deeper.pth")
    plan, begin = begun(str(tmp_path / "deeper.pth"))
    net = run_job(learn([scene()], replace(plan, steps=2), begin=begin)).net
    change = (net.state_dict()[DEEPEST] - weights[DEEPEST]).abs().max()
    assert 0 < change < 0.01
    save_model(tmp_path / "own.safetensors", net, {"diameter_px": 20.0})
    again, header = load_mask_rcnn(tmp_path / "own.safetensors")
    assert (plan.start["model"], plan.start["classes"]) == ("deeper", ["background", "class 1", "class 2"])
    assert header["architecture"]["backbone"] == again.architecture.backbone == "resnet101"
    assert mask_rcnn(np.eye(48), model=str(tmp_path / "own.safetensors"), diameter=20).labels.shape == (48, 48)


def test_another_file_is_refused(tmp_path):
    torch.save({}, tmp_path / "other.pth")
    with pytest.raises(FileError, match="not the published file"):
        read_coco_start(settings(str(tmp_path / "other.pth")))


@pytest.mark.parametrize(("others", "named"), [({"network": "unet"}, "start_from"), ({"widths": "8,8,8,8"}, "widths")])
def test_what_does_not_suit_the_published_network_is_refused(others, named):
    with pytest.raises(ParameterError) as refused:
        read_coco_start(settings(COCO, **others))
    assert refused.value.parameter == named
