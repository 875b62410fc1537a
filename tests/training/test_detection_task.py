"""Training a Mask R-CNN: truths of patches, what does not count, the loop, on scenes small enough to draw."""

import numpy as np
import pytest
import torch
from PIL import Image

from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.inference.normalization import network_channels
from napari_tessera.methods.mask_rcnn import mask_rcnn
from napari_tessera.models import registry as catalogue
from napari_tessera.models.mask_rcnn.boxes import intersection_over_union
from napari_tessera.models.mask_rcnn.config import Settings
from napari_tessera.models.mask_rcnn.losses import Criteria, draw_proposals
from napari_tessera.models.mask_rcnn.matcher import share_inside
from napari_tessera.models.mask_rcnn.transform import image_batch
from napari_tessera.training.checkpoint import Checkpoint
from napari_tessera.training.config import Schedule, TrainingConfig
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.data.patches import Sampling, draw_patch
from napari_tessera.training.loop import train
from napari_tessera.training.losses import LOSSES, class_loss
from napari_tessera.training.mask_rcnn_task import (
    DetectionBatch,
    criteria_of,
    detection_loss,
    detection_targets,
    truth_from,
)
from napari_tessera.training.resolve import check_coarsest, least_bytes, resolve_config
from napari_tessera.training.settings import checked_settings
from napari_tessera.training.train import train as train_files
from napari_tessera.training.unet_task import learn, new_network, task_of
from napari_tessera.training.validation import LEAST_SCORES
from tests.training.test_tasks import same, scene

TINY = TrainingConfig(
    network="mask-rcnn", steps=4, widths=(8, 8, 8, 8), diameter_px=12, patch_px=64, batch=1, mixed=False
)
ONE_LARGE_ONE_TINY = np.ones((5, 6), dtype=np.int32)
ONE_LARGE_ONE_TINY[1:3, 2:5], ONE_LARGE_ONE_TINY[4, 0] = 7, 3
PARTS = {"objectness", "proposal_box", "class", "box", "mask"}
CRITERIA = criteria_of(class_loss("weighted-ce"), class_loss("combined"))


def short_run(checkpoint=None, plan=TINY, stop_after=None):
    """Train a tiny network for a few steps; with `stop_after`, give up there as a cancelled run does."""
    job = learn([scene()], plan, None if checkpoint is None else Checkpoint(checkpoint, plan.as_json()))
    if stop_after is None:
        return run_job(job).net.state_dict()
    for _ in range(stop_after):
        next(job)
    job.close()
    return None


# What is known of a patch


def test_the_truth_has_a_box_to_the_outer_edges_of_each_object():
    truth = truth_from(ONE_LARGE_ONE_TINY)
    assert truth.boxes.tolist() == [[0, 4, 1, 5], [2, 1, 5, 3]]
    assert truth.labels.tolist() == [1, 1]
    assert truth.instances[1, 2] == 2
    assert not truth.ignore.any()


def test_an_object_of_which_hardly_anything_is_seen_counts_as_not_painted():
    truth = truth_from(ONE_LARGE_ONE_TINY, fewest_px=2)
    assert truth.boxes.tolist() == [[2, 1, 5, 3]]
    assert truth.ignore.nonzero().tolist() == [[4, 0]]


def test_an_object_cut_by_the_edge_of_the_patch_keeps_what_is_seen():
    labels = np.ones((12, 12), dtype=np.int32)
    labels[:, :7] = 2
    truth = detection_targets(4)(labels, scene(), 1.0, (slice(2, -2), slice(2, -2)))
    assert truth.boxes.tolist() == [[0, 0, 5, 8]]


def test_a_patch_is_dark_and_background_beyond_the_image():
    sampling = Sampling(size_px=160, diameter_px=10, size_spread=0, native_share=0, is_dark_outside=True)
    channels, truth = draw_patch(scene(), sampling, detection_targets(10), np.random.default_rng(0))
    is_dark = (channels == 0).all(axis=0)
    assert is_dark.mean() > 0.5
    assert not truth.ignore.any()
    assert not truth.instances[torch.from_numpy(is_dark)].any()


# What was not painted does not count


def half_painted_batch(side=64):
    """Two discs; the right half was not painted, neither a part of the second disc, nor the heart of the first."""
    y, x = np.mgrid[:side, :side]
    labels = np.ones((side, side), dtype=np.int32)
    labels[(y - 20) ** 2 + (x - 12) ** 2 < 64], labels[(y - 40) ** 2 + (x - 28) ** 2 < 64] = 2, 3
    labels[:, side // 2 :], labels[18:22, 10:14] = 0, 0
    image = torch.from_numpy((labels != 1).astype(np.float32)).expand(1, 5, -1, -1)
    return DetectionBatch(image, [truth_from(labels)], seed=0)


def watched_loss(batch, criteria=CRITERIA):
    """Compute the gradient of the loss; return the network, its scores of anchors, and scores and targets of masks."""
    net, seen = new_network(TINY).train(), {}

    def watch_anchors(_, __, output):
        seen["anchors"] = output[0]
        for each in output[0]:
            each.retain_grad()

    def watched_masks(scores, target):
        scores.retain_grad()
        seen["masks"] = (scores, target)
        return criteria.masks(scores, target)

    net.rpn.head.register_forward_hook(watch_anchors)
    parts = detection_loss(net, batch, Criteria(criteria.classes, watched_masks))
    sum(parts.values()).backward()
    return net, seen["anchors"], *seen["masks"]


def test_an_anchor_where_nothing_was_painted_has_no_gradient():
    batch = half_painted_batch()
    net, scores, _, _ = watched_loss(batch)
    [truth] = batch.truths
    whole = image_batch(list(batch.images), net.settings)
    anchors = torch.cat(net.anchors(net.features(whole), whole))
    gradient = torch.cat([each.grad for each in scores], dim=1)[0]
    is_unknown = share_inside(truth.ignore, anchors) > 0.5
    is_far = intersection_over_union(truth.boxes, anchors).amax(dim=0) == 0
    assert (is_unknown & is_far).any()
    assert not gradient[is_unknown & is_far].any()
    assert gradient[~is_unknown].any()


def test_a_proposal_where_nothing_was_painted_is_neither_right_nor_wrong():
    [truth] = half_painted_batch().truths
    unknown, background = torch.tensor([[40.0, 4, 60, 24], [36, 40, 60, 60]]), torch.tensor([[2.0, 44, 14, 56]])
    drawn = draw_proposals(torch.cat([unknown, background]), truth, Settings(is_aligned=True))
    assert torch.equal(drawn.boxes, torch.cat([truth.boxes, background]))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_mask_has_no_gradient_where_nothing_was_painted(loss):
    criteria = criteria_of(class_loss(loss), class_loss(loss))
    _, _, scores, target = watched_loss(half_painted_batch(), criteria)
    gradient = scores.grad[:, 0]
    assert (target == 0).any()
    assert not gradient[target == 0].any()
    assert gradient[target > 0].any()


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_learnt_from_a_patch_without_paint(loss):
    batch = DetectionBatch(torch.rand(1, 5, 64, 64), [truth_from(np.zeros((64, 64), dtype=np.int32))], seed=0)
    net = new_network(TINY).train()
    criteria = criteria_of(class_loss(loss), class_loss(loss))
    sum(detection_loss(net, batch, criteria).values()).backward()
    assert all(each.grad is None or not each.grad.any() for each in net.parameters())


# The loop


def test_same_seed_gives_identical_weights():
    assert same(short_run(), short_run())


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path, stop_after):
    whole = short_run()
    short_run(tmp_path / "run.checkpoint", stop_after=stop_after)
    assert same(short_run(tmp_path / "run.checkpoint"), whole)


@pytest.mark.parametrize("which", ["loss", "mask_loss"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_classes_and_masks_trains(which, name):
    plan = TrainingConfig(**TINY.as_json() | {which: name, "steps": 1})
    steps = []
    state = run_job(learn([scene()], plan), lambda step: steps.append(step.data))
    assert steps[0].keys() >= PARTS
    assert all(torch.isfinite(each).all() for each in state.net.state_dict().values())


def test_class_weights_count_in_the_classes_alone():
    batch, net = half_painted_batch(), new_network(TINY)
    weighted = criteria_of(class_loss("weighted-ce", torch.tensor([1.0, 9.0])), class_loss("combined"))
    even, uneven = (detection_loss(net, batch, criteria) for criteria in (CRITERIA, weighted))
    assert {name for name in PARTS if even[name] != uneven[name]} == {"class"}


def test_training_finds_the_discs():
    draw, loss_parts = task_of(TINY, [scene(seed) for seed in range(3)], "cpu")
    schedule = Schedule(steps=90, peak_rate=5e-3, warm_steps=5, cool_steps=45, average=0.9)
    net = run_job(train(new_network(TINY), draw, loss_parts, schedule)).net
    example = scene(seed=9)
    channels = network_channels(example.image, example.levels)
    [found] = net.detect([torch.from_numpy(channels)], lowest_score=0.5)
    truth = truth_from(example.labels)
    overlaps = intersection_over_union(truth.boxes, found.boxes).amax(dim=1)
    assert (overlaps > 0.5).sum() >= 8


# Settings


def data_of(example):
    return Dataset([example], [], "colours", 3, 2, "")


@pytest.mark.parametrize(
    ("values", "named", "said"),
    [
        ({"network": "mask-rcnn", "task": "classes"}, "task", "finds objects"),
        ({"network": "mask-rcnn", "ndim": 3}, "ndim", "segments planes"),
        ({"mask_loss": "dice"}, "mask_loss", "Leave it out"),
        ({"network": "unknown"}, "network", "mask-rcnn"),
        ({"network": "mask-rcnn", "widths": "8,16"}, "widths", "four levels|4 levels"),
        ({"network": "mask-rcnn", "patch": 100}, "patch", "multiple of 32"),
        ({"network": "mask-rcnn", "class_weights": "1,2,3"}, "class_weights", "2 classes"),
    ],
)
def test_what_a_mask_rcnn_cannot_learn_is_refused(values, named, said):
    with pytest.raises(ParameterError, match=said) as refused:
        resolve_config(checked_settings(values), data_of(scene()), "cpu")
    assert refused.value.parameter == named


def test_a_single_pixel_at_the_coarsest_level_is_refused():
    plan = TrainingConfig(**TINY.as_json() | {"patch_px": 32})
    with pytest.raises(ParameterError, match="Choose 64, or a larger `batch`"):
        check_coarsest(plan)
    check_coarsest(TrainingConfig(**plan.as_json() | {"batch": 2}))


def test_a_larger_patch_needs_more_memory():
    small, large = (least_bytes(TrainingConfig(**TINY.as_json() | {"patch_px": side})) for side in (64, 640))
    assert small < large


# From files to a model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on the files of three scenes, and return what came of it."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(3):
        for kind, array in (("images", scene(seed).image), ("labels", scene(seed).labels - 1)):
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / kind / f"{seed}.png")
    return train_files(
        folder / "images", folder / "labels", folder / "discs.safetensors", network="mask-rcnn", widths="8,8,8,8",
        steps=2, patch=64, batch=1, validations=1, diameter=12, classes="background,disc", precision="full",
    )  # fmt: skip


def test_a_trained_model_says_what_it_is(trained):
    header = trained.header
    assert catalogue.find(str(trained.path)).kind == "mask_rcnn"
    assert (header["task"], header["classes"], header["diameter_px"]) == ("objects", ["background", "disc"], 12)
    assert header["training"]["settings"]["mask_loss"] == "combined"


def test_the_least_score_is_the_one_that_does_best_on_validation_images(trained):
    assert trained.header["decoding"]["score"] == trained.header["training"]["scores"]["least_score"]
    assert trained.header["decoding"]["score"] in LEAST_SCORES


def test_a_trained_model_can_be_used(trained):
    found = run_job(mask_rcnn(scene().image, model=str(trained.path), diameter=10, min_score=0.01))
    assert found.labels.shape == (48, 48)
    assert set(found.table["class"]) <= {"disc"}
