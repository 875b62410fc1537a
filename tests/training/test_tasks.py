"""Targets, patches and the loop, on scenes small enough to draw."""

import time
from functools import partial

import numpy as np
import pytest
import torch

from napari_tessera.core.errors import InputError, RunError
from napari_tessera.core.jobs import Progress, run_job
from napari_tessera.training import checkpoint
from napari_tessera.training.checkpoint import Checkpoint
from napari_tessera.training.config import Schedule, TrainingConfig
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.data.example import as_paint, class_example, object_example, usual_diameter
from napari_tessera.training.data.patches import Sampling, draw_patch, image_weights, random_intensity
from napari_tessera.training.loop import check_loss, train
from napari_tessera.training.losses import LOSSES
from napari_tessera.training.resolve import resolve_config
from napari_tessera.training.settings import checked_settings
from napari_tessera.training.unet_task import (
    class_targets,
    instance_targets,
    learn,
    new_network,
    normalised_distance,
    object_targets,
    task_of,
    touching,
)

TWO_TOUCHING = np.array([[1, 1, 1, 1, 1, 1], [1, 2, 2, 3, 3, 1], [1, 1, 1, 1, 1, 1]], dtype=np.int32)
TINY = TrainingConfig(steps=6, widths=(4, 8), diameter_px=12, patch_px=32, batch=2, validations=3, mixed=False)


def scene(seed=0, group="discs", make=object_example, depth=0):
    """Discs of radius 5 on a grid: uint8 image ([depth,] 48, 48), labels with 1 as background."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    inside = ((y % 16 - 8) ** 2 + (x % 16 - 8) ** 2) < 25
    labels = np.where(inside, 2 + (y // 16) * 3 + x // 16, 1).astype(np.int32)
    if make is not object_example:
        labels = np.minimum(labels, 3)
    if depth:
        inside, labels = (np.repeat(each[None], depth, axis=0) for each in (inside, labels))
    image = np.clip(rng.normal(20, 3, inside.shape) + 150 * inside, 0, 255).astype(np.uint8)
    return make(image, labels, group)


def test_touching_is_where_two_objects_meet_and_nowhere_else():
    assert touching(TWO_TOUCHING)[1].tolist() == [False, False, True, True, False, False]


def test_unpainted_pixels_have_class_and_weight_0():
    labels = TWO_TOUCHING.copy()
    labels[0] = 0
    targets = instance_targets(labels, diameter_px=2)
    assert targets.classes[0].tolist() == [0] * 6
    assert targets.weight[0].tolist() == [0] * 6
    assert targets.classes[1].tolist() == [1, 2, 3, 3, 2, 1]


def test_distance_is_1_at_the_heart_of_each_object_and_0_outside():
    labels = np.ones((7, 7), dtype=np.int32)
    labels[1:6, 1:6] = 2
    distance = normalised_distance(labels)
    assert distance[3].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0])


def test_usual_diameter_is_that_of_the_objects_which_hold_the_middle_of_the_area():
    labels = np.zeros((40, 40), dtype=np.int32)
    labels[:20, :20], labels[30, 30], labels[32, 32], labels[34, 34] = 1, 2, 3, 4
    assert usual_diameter(labels) == pytest.approx(2 * np.sqrt(400 / np.pi))
    assert usual_diameter(np.zeros((4, 4), dtype=np.int32)) is None


def test_usual_diameter_of_a_volume_counts_voxels_as_long_as_they_are():
    labels = np.ones((2, 3, 4), dtype=np.int32)
    assert usual_diameter(labels, anisotropy=2) == pytest.approx((6 * 48 / np.pi) ** (1 / 3))


def test_full_labels_become_paint_with_background():
    assert as_paint(np.array([[0, 1, 7]]), "objects").tolist() == [[1, 2, 8]]
    assert as_paint(np.array([[0, 1, 2]]), "classes").tolist() == [[1, 2, 3]]


def test_an_ignored_number_is_not_painted():
    assert as_paint(np.array([[0, 1, 9]]), "classes", ignore=9).tolist() == [[1, 2, 0]]


def test_paint_stays_as_it_is():
    assert as_paint(np.array([[0, 1, 2]], np.uint16), "objects", is_paint=True).tolist() == [[0, 1, 2]]


def test_numbers_far_apart_are_packed():
    labels = np.array([[0, 5, 10**12, 10**12]])
    assert as_paint(labels, "objects").tolist() == [[1, 2, 3, 3]]
    assert as_paint(labels + 1, "objects", is_paint=True).tolist() == [[1, 2, 3, 3]]


def test_an_outline_around_an_object_is_not_painted():
    labels = np.zeros((9, 9), np.int32)
    labels[1:8, 1:8], labels[2:7, 2:7] = 1, 2
    assert set(as_paint(labels, "objects")[1, 1:8]) == {0}
    assert as_paint(labels, "objects")[4, 4] == 3


def test_objects_given_as_classes_are_refused():
    with pytest.raises(InputError, match="objects"):
        as_paint(np.arange(100).reshape(10, 10), "classes")


def test_a_group_is_drawn_as_often_as_the_square_root_of_its_number_of_images():
    examples = [scene(seed, group="rare" if seed == 0 else "usual") for seed in range(5)]
    assert image_weights(examples).tolist() == pytest.approx([1 / 3, *[1 / 6] * 4])


def test_a_patch_shows_objects_at_the_usual_size_whatever_the_image():
    sampling = Sampling(size_px=64, diameter_px=20, size_spread=0, native_share=0)
    sizes = []
    for seed in range(12):
        _, targets = draw_patch(scene(), sampling, object_targets(20), np.random.default_rng(seed))
        sizes.append(np.median(targets.size[targets.classes == 2]))
    assert np.exp(np.mean(sizes)) == pytest.approx(1, abs=0.1)


def test_nothing_outside_the_image_counts():
    sampling = Sampling(size_px=160, diameter_px=10, size_spread=0, native_share=0)
    _, targets = draw_patch(scene(), sampling, object_targets(10), np.random.default_rng(0))
    assert (targets.weight == 0).mean() > 0.5


def patches_with(**sampling):
    """The channels of a dozen patches."""
    how = Sampling(size_px=32, diameter_px=12, dim_share=0, intensity_changes=0, **sampling)
    return np.stack([draw_patch(scene(), how, object_targets(12), np.random.default_rng(n))[0] for n in range(12)])


def roughness(patches):
    """How much neighbouring pixels of the first channel differ, usually."""
    return np.median(np.abs(np.diff(patches[:, 0], axis=-1)))


def test_noise_is_added_to_some_patches():
    assert roughness(patches_with(noise_share=1.0)) > 2 * roughness(patches_with())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_bright_objects_are_shown_as_if_an_image_had_been_turned(share):
    told = patches_with(inverted_share=share)
    assert set(np.unique(told[:, 4])) == {share}
    np.testing.assert_array_equal(told[:, :4], patches_with()[:, :4])


@pytest.mark.parametrize(("task", "usual"), [("objects", 0.22), ("classes", 0.15)])
def test_patches_are_rescaled_as_is_usual_for_the_task_or_as_much_as_is_wanted(task, usual):
    assert TrainingConfig(task=task).sampling().size_spread == usual
    assert TrainingConfig(task=task, rescaling=0).sampling().size_spread == 0
    asked = checked_settings({"task": task, "rescaling": 0.4})
    assert resolve_config(asked, Dataset([], [], "colours", 3, 2, ""), "cpu").sampling().size_spread == 0.4


def test_a_checkpoint_from_before_there_was_noise_suits_a_training_without_it():
    assert not {"noise", "inversion", "rescaling"} & set(TrainingConfig().as_json())
    assert TrainingConfig(noise=0.3).as_json()["noise"] == 0.3


def test_a_patch_of_a_volume_has_planes():
    sampling = Sampling(size_px=32, diameter_px=12, depth_px=8)
    channels, targets = draw_patch(scene(depth=10), sampling, object_targets(12), np.random.default_rng(0))
    assert channels.shape == (5, 8, 32, 32)
    assert targets.distance.shape == (8, 32, 32)


def test_planes_far_apart_are_brought_as_near_as_pixels():
    sampling = Sampling(size_px=32, diameter_px=None, depth_px=16, size_spread=0, native_share=0)
    example = scene(depth=4, make=partial(class_example, anisotropy=4))
    _, classes = draw_patch(example, sampling, class_targets, np.random.default_rng(1))
    assert (classes > 0).any(axis=(1, 2)).sum() >= 14


def short_run(checkpoint=None, plan=TINY, stop_after=None, validate=None, save_seconds=0.0):
    """Train a tiny network for a few steps; with `stop_after`, give up there as a cancelled run does."""
    where = None if checkpoint is None else Checkpoint(checkpoint, plan.as_json())
    make, depth = (class_example if plan.task == "classes" else object_example), plan.depth_px
    job = learn([scene(make=make, depth=depth)], plan, where, validate, save_seconds=save_seconds)
    if stop_after is None:
        return run_job(job).net.state_dict()
    for _ in range(stop_after):
        next(job)
    job.close()
    return None


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_same_seed_gives_identical_weights():
    assert same(short_run(), short_run())


@pytest.mark.parametrize("save_seconds", [0.0, 1000.0])
@pytest.mark.parametrize("stop_after", [1, 3, 6])
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path, stop_after, save_seconds):
    whole = short_run()
    short_run(tmp_path / "run.checkpoint", stop_after=stop_after, save_seconds=save_seconds)
    assert same(short_run(tmp_path / "run.checkpoint"), whole)


def test_a_cancelled_training_does_not_wait_for_its_checkpoint_and_the_next_one_does(tmp_path, monkeypatch):
    saved, write = tmp_path / "run.checkpoint", checkpoint.write_tensors
    monkeypatch.setattr(checkpoint, "write_tensors", lambda *given: (time.sleep(1), write(*given)))
    job = learn([scene()], TINY, Checkpoint(saved, TINY.as_json()), save_seconds=1000)
    for _ in range(3):
        next(job)
    began = time.monotonic()
    job.close()
    assert time.monotonic() - began < 0.5
    monkeypatch.undo()
    assert same(short_run(saved), short_run())


def test_convolutions_lie_in_memory_as_they_are_fastest():
    # What an optimiser remembers must lie in the same order, or a resumed run would go astray without a word.
    weight = new_network(TINY).down[0][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_other_settings_do_not_go_on_and_are_named(tmp_path):
    short_run(tmp_path / "run.checkpoint", stop_after=2)
    other = TrainingConfig(**{**TINY.as_json(), "batch": 3})
    with pytest.raises(InputError, match=r"batch was 2 and is 3.*--restart"):
        short_run(tmp_path / "run.checkpoint", plan=other)


def test_a_damaged_checkpoint_is_explained(tmp_path):
    (tmp_path / "run.checkpoint").write_bytes(b"no checkpoint at all")
    with pytest.raises(InputError, match="--restart"):
        short_run(tmp_path / "run.checkpoint")


def scoring(*scores):
    """Return a validation that gives these scores one after the other, and the list of weights it has seen."""
    left, seen = iter(scores), []

    def validate(net):
        yield Progress(0, 1, "Validating")
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return {"score": next(left)}

    return validate, seen


def test_the_best_validated_weights_are_kept():
    validate, seen = scoring(1.0, 3.0, 2.0)
    assert same(short_run(validate=validate), seen[1])


def test_of_weights_that_find_nothing_the_last_are_kept():
    validate, seen = scoring(0.0, 0.0, 0.0)
    assert same(short_run(validate=validate), seen[2])


@pytest.mark.parametrize("stop_after", range(3, 9))
def test_the_last_of_equal_weights_is_kept_after_a_stop_too(tmp_path, stop_after):
    whole = short_run(validate=scoring(*[0.5] * 3)[0])
    short_run(tmp_path / "run.checkpoint", stop_after=stop_after, validate=scoring(*[0.5] * 4)[0])
    assert same(short_run(tmp_path / "run.checkpoint", validate=scoring(*[0.5] * 4)[0]), whole)


@pytest.mark.parametrize("stop_after", range(3, 9))
def test_the_best_weights_survive_a_stop(tmp_path, stop_after):
    validate, seen = scoring(3.0, 2.0, 1.0, 0.0)
    short_run(tmp_path / "run.checkpoint", stop_after=stop_after, validate=validate)
    assert same(short_run(tmp_path / "run.checkpoint", validate=validate), seen[0])


def test_every_validation_is_made_once_though_stopped_in_its_midst(tmp_path):
    validate, seen = scoring(*range(9))
    short_run(tmp_path / "run.checkpoint", stop_after=3, validate=validate, save_seconds=1000)
    short_run(tmp_path / "run.checkpoint", validate=validate)
    assert len(seen) == 3


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e9])
def test_a_loss_beyond_all_bounds_stops(loss):
    with pytest.raises(RunError, match="step 7"):
        check_loss(loss, 7)


@pytest.mark.parametrize("task", ["objects", "classes"])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_task_and_loss_trains(task, ndim, loss):
    depth = 8 if ndim == 3 else 0
    tiny = {"widths": (4, 8), "diameter_px": 12, "patch_px": 16, "depth_px": depth, "batch": 1, "mixed": False}
    plan = TrainingConfig(task=task, ndim=ndim, loss=loss, n_classes=3, steps=2, **tiny)
    weights = short_run(plan=plan)
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert weights["heads.classes.weight"].shape[0] == 3


def test_channels_of_their_own_are_learnt():
    grey = scene()
    image = np.stack([grey.image, 255 - grey.image], axis=-1).astype(np.uint16)
    example = object_example(image, grey.labels, kind="channels")
    plan = TrainingConfig(
        kind="channels", n_channels=2, steps=2, widths=(4, 8), diameter_px=12, patch_px=32, batch=1, mixed=False
    )
    state = run_job(learn([example], plan))
    assert state.net.architecture.channels == 2


@pytest.mark.parametrize("task", ["objects", "classes"])
def test_training_learns_the_discs(task):
    plan = TrainingConfig(task=task, n_classes=3, widths=(4, 8), diameter_px=12, patch_px=32, batch=2, mixed=False)
    draw, loss_parts = task_of(plan, [scene(make=object_example if task == "objects" else class_example)], None)
    losses = []
    schedule = Schedule(steps=30, peak_rate=1e-2, warm_steps=2, cool_steps=10)
    run_job(train(new_network(plan), draw, loss_parts, schedule), lambda step: losses.append(step.data["loss"]))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_intensities_are_left_as_they_are_where_no_changes_are_wanted():
    colours = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    for seed in range(8):
        same = random_intensity(colours, np.random.default_rng(seed), strength=0, is_coloured=False)
        np.testing.assert_allclose(same, colours, rtol=1e-6)
