"""Losses, against numbers worked by hand."""

import math

import pytest
import torch

from napari_tessera.training.losses import LOSSES, class_loss, dice, focal, regression, tversky, weighted_cross_entropy

FUNCTIONS = [loss.function for name, loss in LOSSES.items() if name != "combined"]


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


def test_tversky_is_the_published_formula_of_the_second_class():
    loss = tversky(scores_of(0.8, 0.4), pixels(2, 1), alpha=0.3, beta=0.7)
    assert loss.item() == pytest.approx(1 - 0.8 / (0.8 + 0.3 * 0.4 + 0.7 * 0.2))


def test_tversky_counts_what_is_missed_more_than_what_is_too_much():
    missed = tversky(scores_of(0.5, 0.5), pixels(2, 2), alpha=0.3, beta=0.7)
    too_much = tversky(scores_of(0.5, 0.5), pixels(2, 1), alpha=0.3, beta=0.7)
    assert missed.item() == pytest.approx(1 - 1 / (1 + 0.7 * 1))
    assert too_much.item() == pytest.approx(1 - 0.5 / (0.5 + 0.3 * 0.5 + 0.7 * 0.5))


def test_tversky_of_three_classes_is_the_mean_over_all_but_the_background():
    share = torch.tensor([0.2, 0.5, 0.3])
    scores = share.log().view(1, 3, 1, 1).expand(1, 3, 1, 3)
    second = 0.5 / (0.5 + 0.3 * 2 * 0.5 + 0.7 * 0.5)
    third = 0.3 / (0.3 + 0.3 * 2 * 0.3 + 0.7 * 0.7)
    assert tversky(scores, pixels(1, 2, 3)).item() == pytest.approx(1 - (second + third) / 2)


def test_tversky_of_equal_halves_is_the_dice_loss_of_plain_probabilities():
    loss = tversky(scores_of(0.8, 0.4), pixels(2, 1), alpha=0.5, beta=0.5)
    assert loss.item() == pytest.approx(1 - 2 * 0.8 / (0.8 + 0.4 + 1))


def test_alpha_and_beta_reach_the_tversky_loss():
    scores, target = scores_of(0.7, 0.2), pixels(2, 1)
    (chosen,) = class_loss("tversky", alpha=0.1, beta=0.9)(scores, target, None).values()
    assert chosen.item() == tversky(scores, target, alpha=0.1, beta=0.9).item()


def test_dice_leaves_out_a_class_that_is_not_painted():
    assert dice(scores_of(0.5), pixels(2)).item() == pytest.approx(1 - 2 * 0.5 / (0.25 + 1))


@pytest.mark.parametrize("loss", FUNCTIONS)
def test_two_channels_say_the_same_as_one_score(loss):
    one, target = scores_of(0.9, 0.2, 0.6), pixels(2, 1, 2)
    two = torch.cat([torch.zeros_like(one), one], dim=1)
    assert loss(two, target).item() == pytest.approx(loss(one, target).item(), abs=1e-6)


@pytest.mark.parametrize("loss", FUNCTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_unpainted_pixels_have_exactly_no_gradient(loss, channels):
    scores = torch.randn(2, channels, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.zeros(2, 4, 4, dtype=torch.uint8)
    target[0, 0, :3] = torch.tensor([1, 2, 2])
    loss(scores, target).backward()
    assert scores.grad[:, :, 1:].abs().max() == 0
    assert scores.grad[1].abs().max() == 0
    assert scores.grad[0, :, 0, :3].abs().min() > 0


@pytest.mark.parametrize("loss", FUNCTIONS)
def test_unpainted_padding_changes_nothing(loss):
    small = loss(scores_of(0.7, 0.2), pixels(2, 1))
    padded = loss(scores_of(0.7, 0.2, 0.99, 0.01), pixels(2, 1, 0, 0))
    assert padded.item() == pytest.approx(small.item())


@pytest.mark.parametrize("loss", FUNCTIONS)
def test_nothing_painted_is_no_loss(loss):
    assert loss(scores_of(0.7, 0.2), pixels(0, 0)).item() == 0


@pytest.mark.parametrize("loss", FUNCTIONS)
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


def test_three_classes_have_the_cross_entropy_of_their_softmax():
    scores = torch.log(torch.tensor([0.2, 0.3, 0.5])).view(1, 3, 1, 1)
    assert weighted_cross_entropy(scores, pixels(3)).item() == pytest.approx(-math.log(0.5))


def test_focal_of_three_classes_weighs_all_but_the_first_by_alpha():
    scores = torch.log(torch.tensor([0.2, 0.3, 0.5])).view(1, 3, 1, 1)
    of_first, of_last = (focal(scores, pixels(number)).item() for number in (1, 3))
    assert of_first == pytest.approx(0.75 * 0.8**2 * -math.log(0.2), rel=1e-4)
    assert of_last == pytest.approx(0.25 * 0.5**2 * -math.log(0.5), rel=1e-4)


def test_focal_hardly_sees_what_is_sure_and_right():
    sure, unsure = (focal(scores_of(p), pixels(2)).item() for p in (0.99, 0.5))
    assert sure / unsure == pytest.approx((0.01**2 * -math.log(0.99)) / (0.5**2 * -math.log(0.5)), rel=1e-3)


def test_dice_of_a_perfect_answer_is_0():
    assert dice(scores_of(1 - 1e-7, 1e-7), pixels(2, 1)).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("loss", FUNCTIONS)
def test_volumes_are_scored_like_planes(loss):
    plane = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 4, (2, 4, 6), generator=torch.Generator().manual_seed(1))
    assert loss(plane.view(2, 3, 2, 2, 6), target.view(2, 2, 2, 6)).item() == pytest.approx(loss(plane, target).item())


@pytest.mark.parametrize("loss", FUNCTIONS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_gives_the_loss_of_the_same_scores_in_full(loss, half):
    scores = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(half)
    target = torch.randint(0, 4, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    assert loss(scores, target).item() == loss(scores.float(), target).item()


@pytest.mark.parametrize("loss", FUNCTIONS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_many_pixels_do_not_overflow_half_precision(loss, half):
    scores, target = torch.zeros(1, 1, 512, 512, dtype=half), torch.ones(1, 512, 512, dtype=torch.uint8)
    small = loss(scores[..., :4, :4], target[..., :4, :4])
    assert loss(scores, target).item() == pytest.approx(small.item(), rel=1e-4)


@pytest.mark.parametrize("loss", FUNCTIONS)
@pytest.mark.parametrize("score", [-1e4, 1e4])
def test_wildly_wrong_and_wildly_right_scores_stay_finite(loss, score):
    scores = torch.full((1, 1, 2, 2), score).requires_grad_()
    value = loss(scores, torch.tensor([[[1, 2], [2, 1]]]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("loss", FUNCTIONS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_unpainted_pixels_have_exactly_no_gradient_in_half_precision(loss, half, channels):
    scores = torch.full((1, channels, 1, 3), 3e4, dtype=half).requires_grad_()
    loss(scores, pixels(0, 2, 0)).backward()
    assert scores.grad[..., 0].abs().max() == 0
    assert scores.grad[..., 2].abs().max() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_chosen_losses_leave_the_unpainted_alone(name):
    scores = torch.randn(1, 3, 1, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    parts = class_loss(name, torch.tensor([1.0, 2.0, 3.0]))(scores, pixels(0, 3, 1), None)
    sum(parts.values()).backward()
    assert scores.grad[..., 0].abs().max() == 0
    assert scores.grad[..., 1:].abs().min() > 0


def test_combined_is_cross_entropy_and_half_of_dice():
    scores, target = scores_of(0.9, 0.2), pixels(2, 1)
    parts = class_loss("combined")(scores, target, None)
    assert parts["entropy"].item() == weighted_cross_entropy(scores, target).item()
    assert parts["dice"].item() == dice(scores, target).item() / 2


def test_weights_of_classes_and_of_pixels_multiply():
    scores, target = scores_of(0.75, 0.75), pixels(2, 1)
    (loss,) = class_loss("weighted-ce", torch.tensor([1.0, 3.0]))(scores, target, pixels(1.0, 2.0)).values()
    assert loss.item() == pytest.approx((-3 * math.log(0.75) - 2 * math.log(0.25)) / 5)


def test_regression_is_quadratic_for_small_errors_and_linear_for_large_ones():
    target, weight = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1)
    small, large = (regression(torch.full((1, 1, 1, 1), value), target, weight).item() for value in (0.02, 2.0))
    assert small == pytest.approx(0.02**2 / 0.2)
    assert large == pytest.approx(2 - 0.05)


def test_regression_has_exactly_no_gradient_without_weight():
    values = torch.tensor([[[[3.0, 5.0]]]], dtype=torch.float16, requires_grad=True)
    regression(values, torch.zeros(1, 1, 1, 2), torch.tensor([[[0.0, 1.0]]])).backward()
    assert values.grad.flatten()[0] == 0
    assert values.grad.flatten()[1] > 0


def test_weights_of_classes_count_where_each_target_stands_alone():
    scores = torch.tensor([[0.0, math.log(3)]]).expand(3, 2)
    (loss,) = class_loss("weighted-ce", torch.tensor([1.0, 3.0]))(scores, torch.tensor([1, 2, 2]), None).values()
    assert loss.item() == pytest.approx((-math.log(0.25) - 6 * math.log(0.75)) / 7)


def test_gamma_and_alpha_reach_the_focal_loss():
    scores, target = scores_of(0.7, 0.2), pixels(2, 1)
    (chosen,) = class_loss("focal", gamma=0, alpha=0.5)(scores, target, None).values()
    assert chosen.item() == pytest.approx(0.5 * weighted_cross_entropy(scores, target).item())
