"""Targets, patches and the loop, on scenes small enough to draw."""

import numpy as np
import pytest
import torch

from napari_tessera.jobs import drive
from napari_tessera.nn.intensity import CHANNELS
from napari_tessera.nn.unet import Architecture, UNet
from napari_tessera.train.instances import as_batch, instance_loss
from napari_tessera.train.loop import Schedule, train
from napari_tessera.train.patches import Example, Sampling, draw_batch, draw_patch, image_weights, usual_diameter
from napari_tessera.train.targets import HEADS, instance_targets, normalised_distance, touching

TWO_TOUCHING = np.array([[1, 1, 1, 1, 1, 1], [1, 2, 2, 3, 3, 1], [1, 1, 1, 1, 1, 1]], dtype=np.int32)


def scene(seed=0):
    """Discs of radius 5 on a grid: uint8 image (48, 48), labels with 1 as background."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    inside = ((y % 16 - 8) ** 2 + (x % 16 - 8) ** 2) < 25
    labels = np.where(inside, 2 + (y // 16) * 3 + x // 16, 1).astype(np.int32)
    image = np.clip(rng.normal(20, 3, inside.shape) + 150 * inside, 0, 255).astype(np.uint8)
    return Example(image, labels, "discs")


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


def test_a_group_is_drawn_as_often_as_the_square_root_of_its_number_of_images():
    examples = [scene(seed) for seed in range(5)]
    object.__setattr__(examples[0], "group", "rare")
    assert image_weights(examples).tolist() == pytest.approx([1 / 3, *[1 / 6] * 4])


def test_a_patch_shows_objects_at_the_usual_size_whatever_the_image():
    sampling = Sampling(size_px=64, diameter_px=20, size_spread=0, native_share=0)
    sizes = []
    for seed in range(12):
        _, targets = draw_patch(scene(), sampling, np.random.default_rng(seed))
        sizes.append(np.median(targets.size[targets.classes == 2]))
    assert np.exp(np.mean(sizes)) == pytest.approx(1, abs=0.1)


def test_nothing_outside_the_image_counts():
    sampling = Sampling(size_px=160, diameter_px=10, size_spread=0, native_share=0)
    _, targets = draw_patch(scene(), sampling, np.random.default_rng(0))
    assert (targets.weight == 0).mean() > 0.5


def short_run(checkpoint=None, steps=6, stop_after=None, validate=None):
    """Train a tiny network for a few steps; with `stop_after`, give up there as a killed run does."""
    torch.manual_seed(0)
    net = UNet(Architecture(CHANNELS, HEADS, widths=(4, 8)))
    examples, sampling = [scene()], Sampling(size_px=32, diameter_px=12)
    weights = image_weights(examples)

    def draw(rng):
        return as_batch(*draw_batch(examples, weights, sampling, 2, rng))

    schedule = Schedule(steps=steps, warm_steps=2, cool_steps=2, save_every=2, validate_every=2)
    job = train(net, draw, instance_loss, schedule, checkpoint, validate)
    if stop_after is None:
        return drive(job).state_dict()
    for _ in range(stop_after):
        next(job)
    job.close()
    return None


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_same_seed_gives_identical_weights():
    assert same(short_run(), short_run())


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path, stop_after):
    whole = short_run()
    short_run(tmp_path / "run.ckpt", stop_after=stop_after)
    assert same(short_run(tmp_path / "run.ckpt"), whole)


def test_the_best_validated_weights_are_kept(tmp_path):
    scores, seen = iter([1.0, 3.0, 2.0]), []

    def validate(net):
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return {"score": next(scores)}

    kept = short_run(validate=validate)
    assert same(kept, seen[1])


def test_the_best_weights_survive_a_stop(tmp_path):
    scores, seen = iter([3.0, 2.0, 1.0]), []

    def validate(net):
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return {"score": next(scores)}

    short_run(tmp_path / "run.ckpt", stop_after=5, validate=validate)
    assert same(short_run(tmp_path / "run.ckpt", validate=validate), seen[0])


def test_training_learns_the_discs():
    torch.manual_seed(0)
    net = UNet(Architecture(CHANNELS, HEADS, widths=(4, 8)))
    examples, sampling = [scene()], Sampling(size_px=32, diameter_px=12)

    def draw(rng):
        return as_batch(*draw_batch(examples, image_weights(examples), sampling, 2, rng))

    losses = []
    schedule = Schedule(steps=30, peak_rate=1e-2, warm_steps=2, cool_steps=10)
    drive(train(net, draw, instance_loss, schedule), lambda step: losses.append(step.data["loss"]))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
