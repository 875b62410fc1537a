"""As much of each class is found as there is of it, although all were painted alike."""

import numpy as np
import pytest
import torch

from napari_tessera.core.jobs import run_job
from napari_tessera.inference.normalization import Levels, channel_names, normalisation
from napari_tessera.models.unet import UNet, UNetArchitecture
from napari_tessera.models.weights import tensors_of
from napari_tessera.training.checkpoint import State
from napari_tessera.training.class_prior_correction import (
    adjusted_count,
    bias_for,
    match_class_prior,
    shares_of_classes,
    straight_patches,
)
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.data.example import Example
from napari_tessera.training.live_prediction import LiveTraining
from napari_tessera.training.session import TrainingSession, has_even_strokes
from napari_tessera.training.settings import Training

SIDE = 64


def noisy_half(share=0.2, noise=0.3):
    """An image of which `share` is bright, in noise, with equally many painted pixels of dark (1) and bright (2)."""
    rng = np.random.default_rng(0)
    is_bright = np.arange(SIDE)[:, None] < share * SIDE
    image = np.clip(is_bright + rng.normal(0, noise, (SIDE, SIDE)), -0.4, 1.4).astype(np.float32)
    paint = np.zeros((SIDE, SIDE), np.int32)
    paint[2:6, :50], paint[40:44, :50] = 2, 1
    return example_of(image, paint)


def example_of(image, paint, **fields):
    sizes = np.bincount(paint.ravel(), minlength=3)
    return Example(image, paint, Levels(0.0, 1.0), sizes, np.argwhere(paint > 0).astype(float), None, **fields)


def threshold_net(level):
    """A network that calls a pixel bright above a level of the first channel."""
    net = UNet(UNetArchitecture(5, {"classes": 2}, (2, 2))).eval()
    with torch.no_grad():
        for each in net.parameters():
            if each.ndim > 1:
                each.zero_()
        net.down[0][0].weight[0, 0, 1, 1] = net.down[0][3].weight[0, 0, 1, 1] = 1
        net.up[0][0].weight[0, 0, 1, 1] = net.up[0][3].weight[0, 0, 1, 1] = 1
        net.heads["classes"].weight[:, 0, 0, 0] = torch.tensor([0.0, 10.0])
        net.heads["classes"].bias[:] = torch.tensor([10.0 * level, 0.0])
    return net


def found_share(net, example):
    channels, _ = next(straight_patches([example], 0))
    with torch.inference_mode():
        found = net(torch.from_numpy(channels[None, :, 24 : 24 + SIDE, 24 : 24 + SIDE]))["classes"].argmax(1)
    return float(found.float().mean())


def test_usual_mistakes_are_taken_off():
    rates = np.array([[0.8, 0.1, 0.1], [0.0, 1.0, 0.0], [0.2, 0.0, 0.8]])
    shares = np.array([0.7, 0.2, 0.1])
    np.testing.assert_allclose(adjusted_count(shares @ rates, rates), shares, atol=1e-3)


def test_a_class_is_not_found_more_than_four_times_as_rarely():
    rates = np.array([[0.6, 0.4], [0.0, 1.0]])
    np.testing.assert_allclose(adjusted_count(np.array([0.6, 0.4]), rates), [1 / 1.1 * 1.0, 0.1 / 1.1], atol=0.3)
    assert adjusted_count(np.array([0.6, 0.4]), rates)[1] > 0.05


def test_scores_are_moved_until_each_class_has_its_share():
    scores = np.random.default_rng(0).normal(size=(3, 5000))
    shares = np.array([0.7, 0.25, 0.05])
    found = (scores + run_job(bias_for(scores, shares))[:, None]).argmax(0)
    np.testing.assert_allclose(np.bincount(found) / 5000, shares, atol=0.01)


def test_a_network_that_finds_too_much_of_a_class_finds_less_of_it():
    example, net = noisy_half(), threshold_net(0.2)
    before = found_share(net, example)
    run_job(match_class_prior(net, [example], 0))
    assert before > 0.35
    assert found_share(net, example) == pytest.approx(0.2, abs=0.04)


def test_the_same_seed_moves_scores_alike():
    nets = [threshold_net(0.2), threshold_net(0.2)]
    for net in nets:
        run_job(match_class_prior(net, [noisy_half()], 3))
    assert torch.equal(*(net.heads["classes"].bias for net in nets))


def test_images_painted_all_over_change_nothing():
    example = noisy_half()
    whole = example_of(example.image, np.where(np.arange(SIDE)[:, None] < 20, 2, 1) * np.ones((1, SIDE), np.int32))
    net = threshold_net(0.2)
    assert run_job(match_class_prior(net, [whole], 0)) is None
    assert net.heads["classes"].bias.tolist() == [2, 0]


def test_hardly_any_paint_of_a_class_changes_nothing():
    painted = np.array([0] * 1000 + [1] * 200 + [2] * 20)
    assert shares_of_classes(np.zeros((2, len(painted))), painted) is None


def test_volumes_are_looked_at_with_their_planes_apart():
    paint = np.zeros((10, 60, 60), np.int32)
    channels, seen = next(straight_patches([example_of(np.ones(paint.shape, np.float32), paint, anisotropy=3.0)], 0))
    assert channels.shape == (5, 48, 48, 48)
    assert seen.shape == (48, 48, 48)


@pytest.mark.parametrize(
    ("plan", "painted", "is_even"),
    [
        ({"task": "classes"}, True, True),
        ({"task": "classes"}, False, False),
        ({"task": "objects"}, True, False),
        ({"task": "classes", "loss": "dice"}, True, False),
        ({"task": "classes", "class_weights": (1.0, 10.0)}, True, False),
    ],
)
def test_only_strokes_without_weights_are_taken_for_even(plan, painted, is_even):
    assert has_even_strokes(TrainingConfig(**plan), Training(painted=painted)) == is_even


def settled(check, start=None, score=1.0):
    """The bias of the classes, by how much it was raised, after a training that scored so on `check`."""
    net = threshold_net(0.2)
    header = {
        "title": "t",
        "task": "classes",
        "classes": ["dark", "bright"],
        "channels": channel_names("colours", 3),
        "normalisation": normalisation("colours", 3),
        "diameter_px": None,
        "decoding": {},
    }
    data = Dataset([noisy_half()], check, "colours", 3, 2, "")
    session = TrainingSession(
        Training(painted=True, task="classes"), data, start, header, None, "cpu", lambda: False, LiveTraining()
    )
    state = State(net, tensors_of(net), None)
    state.step = 5
    if check:
        state.judge({"step": 5, "score": score})
    run_job(session.correct_class_prior(state, TrainingConfig(task="classes", seed=3)))
    return (net.heads["classes"].bias - torch.tensor([2.0, 0.0])).tolist(), state.history


def test_scores_are_moved_after_learning_from_nothing_and_scored_anew():
    moved, (record,) = settled([noisy_half()], score=0.0)
    assert moved[0] > 0 > moved[1]
    assert record["score"] > 0.5


def test_scores_stay_where_the_paint_held_back_would_be_told_apart_worse():
    assert settled([noisy_half()], score=2.0) == ([0.0, 0.0], [{"step": 5, "score": 2.0}])


def test_scores_stay_where_a_model_is_learnt_further():
    assert settled([], start="a model")[0] == [0.0, 0.0]


def test_scores_are_moved_where_nothing_is_held_back():
    assert settled([])[0][0] > 0
