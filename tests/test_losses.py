"""Losses, against numbers worked by hand."""

import math

import pytest
import torch

from napari_tessera.train.losses import dice, focal, regression, weighted_cross_entropy

LOSSES = [weighted_cross_entropy, focal, dice]


def scores_of(*probabilities):
    """Turn the probability of class 2 at each pixel into one score per pixel, (1, 1, 1, pixels)."""
    return torch.tensor([[[[math.log(p / (1 - p)) for p in probabilities]]]])


def pixels(*values):
    return torch.tensor([[list(values)]])


def test_cross_entropy_is_the_mean_surprise_of_the_painted_pixels():
    loss = weighted_cross_entropy(scores_of(0.75, 0.75, 0.1), pixels(2, 1, 0))
    assert loss.item() == pytest.approx((-math.log(0.75) - math.log(0.25)) / 2)


def test_cross_entropy_weighs_pixels():
    loss = weighted_cross_entropy(scores_of(0.75, 0.75), pixels(2, 1), pixels(3.0, 1.0))
    assert loss.item() == pytest.approx((-3 * math.log(0.75) - math.log(0.25)) / 4)


def test_cross_entropy_takes_a_weight_per_class():
    loss = weighted_cross_entropy(scores_of(0.75, 0.75), pixels(2, 1), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((-3 * math.log(0.75) - math.log(0.25)) / 4)


def test_focal_is_the_published_formula():
    loss = focal(scores_of(0.9, 0.2), pixels(2, 1))
    expected = (0.25 * 0.1**2 * -math.log(0.9) + 0.75 * 0.2**2 * -math.log(0.8)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_focal_without_focus_is_half_the_cross_entropy_at_equal_balance():
    scores, target = scores_of(0.9, 0.2, 0.6), pixels(2, 1, 1)
    plain = weighted_cross_entropy(scores, target).item()
    assert focal(scores, target, gamma=0, alpha=0.5).item() == pytest.approx(plain / 2)


def test_dice_is_the_published_formula_for_each_class():
    loss = dice(scores_of(0.8, 0.4), pixels(2, 1))
    upper = 2 * 0.8 / (0.8**2 + 0.4**2 + 1)
    lower = 2 * 0.6 / (0.2**2 + 0.6**2 + 1)
    assert loss.item() == pytest.approx(1 - (upper + lower) / 2)


def test_dice_leaves_out_a_class_that_is_not_painted():
    assert dice(scores_of(0.5), pixels(2)).item() == pytest.approx(1 - 2 * 0.5 / (0.25 + 1))


@pytest.mark.parametrize("loss", LOSSES)
def test_two_channels_say_the_same_as_one_score(loss):
    one, target = scores_of(0.9, 0.2, 0.6), pixels(2, 1, 2)
    two = torch.cat([torch.zeros_like(one), one], dim=1)
    assert loss(two, target).item() == pytest.approx(loss(one, target).item(), abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("channels", [1, 3])
def test_unpainted_pixels_have_exactly_no_gradient(loss, channels):
    scores = torch.randn(2, channels, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.zeros(2, 4, 4, dtype=torch.uint8)
    target[0, 0, :3] = torch.tensor([1, 2, 2])
    loss(scores, target).backward()
    assert scores.grad[:, :, 1:].abs().max() == 0
    assert scores.grad[1].abs().max() == 0
    assert scores.grad[0, :, 0, :3].abs().min() > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_unpainted_padding_changes_nothing(loss):
    small = loss(scores_of(0.7, 0.2), pixels(2, 1))
    padded = loss(scores_of(0.7, 0.2, 0.99, 0.01), pixels(2, 1, 0, 0))
    assert padded.item() == pytest.approx(small.item())


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_painted_is_no_loss(loss):
    assert loss(scores_of(0.7, 0.2), pixels(0, 0)).item() == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_extreme_scores_in_half_precision_stay_finite(loss, half):
    scores = torch.tensor([[[[60000.0, -60000.0, 0.0]]]]).to(half).requires_grad_()
    value = loss(scores, pixels(2, 1, 1))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()


def test_regression_counts_weighted_pixels_only():
    values, target = torch.tensor([[[[1.0, 5.0]]]]), torch.tensor([[[[0.0, 0.0]]]])
    assert regression(values, target, torch.tensor([[[2.0, 0.0]]])).item() == pytest.approx(0.95)
