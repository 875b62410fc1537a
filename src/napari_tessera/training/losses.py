"""Losses of class scores (weighted cross-entropy, Dice, focal, Tversky), and of regressed values.

A target of 0 is a pixel without annotation and gives exactly zero gradient; targets 1…K are the classes, whose scores
are in channels 0…K-1. Scores may be in half precision; all losses are computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ClassLoss = Callable[["Tensor", "Tensor", "Tensor | None"], dict[str, "Tensor"]]
"""From scores (B, K, …), target (B, …) and pixel weights (B, …) or None to the named parts of a loss."""

# torch is imported where it is used, so that forms and commands read the table of losses without it.

TINY = 1e-6


def class_loss(name: str = "combined", class_weights: Tensor | None = None, **parameters: float) -> ClassLoss:
    """Choose one of `LOSSES`; parameters of other losses are ignored.

    `class_weights` (K,) are the weights of a pixel of each class, in losses that take weights.
    """
    loss = LOSSES[name]
    own = {each: value for each, value in parameters.items() if each in loss.parameters}

    def parts(scores: Tensor, target: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
        if target.ndim == 1:  # here the weights could be read as one per class
            return parts(scores[..., None], target[..., None], None if weight is None else weight[..., None])
        weighted = weight if class_weights is None else _both_weights(target, weight, class_weights)
        found = loss.function(scores, target, weighted if loss.takes_weights else None, **own)
        return found if isinstance(found, dict) else {name: found}

    return parts


def _both_weights(target: Tensor, weight: Tensor | None, class_weights: Tensor) -> Tensor:
    of_class = _pixel_weights(target, class_weights.to(target.device))
    return of_class if weight is None else weight * of_class


def weighted_cross_entropy(scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of −log p(true class) over the annotated pixels: Σ w·(−log p) / Σ w.

    Parameters
    ----------
    scores : Tensor (B, K, …)
        Raw scores; with K = 1, the score of class 2 against class 1.
    target : integer Tensor (B, …)
        0 not annotated, 1…K the classes.
    weight : Tensor (B, …), or (K,) for a weight per class, optional
        How much each pixel counts; by default all the same.

    Returns
    -------
    Tensor
        A number; 0 without annotation.

    References
    ----------
    Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28, equation 1.
    """
    entropy, annotated = _cross_entropy(scores, target)
    weights = _pixel_weights(target, weight) * annotated
    return (entropy * weights).sum() / weights.sum().clamp_min(TINY)


def focal(
    scores: Tensor, target: Tensor, weight: Tensor | None = None, gamma: float = 2, alpha: float = 0.25
) -> Tensor:
    """Return the cross-entropy with less weight where the network is certain: Σ w·α_t·(1 − p)^γ·(−log p) / Σ w.

    Parameters
    ----------
    scores, target, weight
        As in `weighted_cross_entropy`.
    gamma : float
        How little a pixel counts if the network is certain; 0 is the cross-entropy.
    alpha : float
        Weight of all classes except the first, which has 1 − `alpha`.

    References
    ----------
    Lin et al. 2017, doi:10.1109/ICCV.2017.324, equation 5.
    """
    import torch

    entropy, annotated = _cross_entropy(scores, target)
    weights = _pixel_weights(target, weight) * annotated
    balance = torch.where(target > 1, alpha, 1 - alpha)
    unsure = -torch.expm1(-entropy)
    return (balance * unsure.clamp_min(TINY) ** gamma * entropy * weights).sum() / weights.sum().clamp_min(TINY)


def dice(scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return 1 − the mean over classes of 2 Σ w·p·t / (Σ w·p² + Σ w·t²), sums over the annotated pixels of the batch.

    Parameters
    ----------
    scores, target, weight
        As in `weighted_cross_entropy`. Classes that are not annotated in the batch are left out of the mean.

    References
    ----------
    Milletari et al. 2016, doi:10.1109/3DV.2016.79, section 3.
    """
    probabilities, truth, weights = _overlap_terms(scores, target, weight)
    over = (0, *range(2, truth.ndim))
    both = (weights * probabilities * truth).sum(over)
    sizes = (weights * (probabilities**2 + truth)).sum(over)
    occurs = (weights * truth).sum(over) > 0
    score = 2 * both / sizes.clamp_min(TINY)
    return ((1 - score) * occurs).sum() / occurs.sum().clamp_min(1)


def tversky(
    scores: Tensor, target: Tensor, weight: Tensor | None = None, alpha: float = 0.3, beta: float = 0.7
) -> Tensor:
    """Return 1 − the mean over classes of Σ p·t / (Σ p·t + α Σ p·(1 − t) + β Σ (1 − p)·t), over the annotated pixels.

    Parameters
    ----------
    scores, target, weight
        As in `weighted_cross_entropy`. With two classes, only the second is scored; with more, all but the first, which
        is the background. Classes that are not annotated in the batch are left out of the mean.
    alpha : float
        Weight of false positive pixels.
    beta : float
        Weight of false negative pixels. A `beta` above `alpha` finds more; both 0.5 is
        the Dice loss of probabilities that are not squared.

    References
    ----------
    Salehi et al. 2017, doi:10.1007/978-3-319-67389-9_44, equations 1 to 3.
    """
    probabilities, truth, weights = _overlap_terms(scores, target, weight)
    over = (0, *range(2, truth.ndim))
    both = (weights * probabilities * truth).sum(over)
    wrong = (weights * probabilities * (1 - truth)).sum(over)
    missed = (weights * (1 - probabilities) * truth).sum(over)
    index = both / (both + alpha * wrong + beta * missed).clamp_min(TINY)
    occurs = (weights * truth).sum(over) > 0
    return ((1 - index) * occurs)[1:].sum() / occurs[1:].sum().clamp_min(1)


def combined(scores: Tensor, target: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
    """Return the cross-entropy, whose gradient is steady, and half of the Dice loss, for which rare classes count.

    Parameters
    ----------
    scores, target, weight
        As in `weighted_cross_entropy`; the Dice loss takes no weights.

    References
    ----------
    Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, for the sum of the two.
    """
    entropy = weighted_cross_entropy(scores, target, weight)
    return {"entropy": entropy, "dice": 0.5 * dice(scores, target)}


def regression(values: Tensor, target: Tensor, weight: Tensor, sharpness: float = 0.1) -> Tensor:
    """Return the mean smooth absolute error, quadratic below `sharpness`: Σ w·h(v − t) / Σ w.

    Values and target are (B, C, …), the weight (B, …) is 0 where not annotated.
    """
    from torch.nn import functional

    error = functional.smooth_l1_loss(values.float(), target, beta=sharpness, reduction="none").mean(1)
    return (error * weight).sum() / weight.sum().clamp_min(TINY)


def _cross_entropy(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return −log p(true class), and 1 where annotated (0 elsewhere), both (B, …)."""
    from torch.nn import functional

    annotated = (target > 0).float()
    classes = (target.long() - 1).clamp_min(0)
    if scores.shape[1] == 1:
        score = scores[:, 0].float()
        return functional.binary_cross_entropy_with_logits(score, classes.float(), reduction="none"), annotated
    return functional.cross_entropy(scores.float(), classes, reduction="none"), annotated


def _probabilities(scores: Tensor) -> Tensor:
    import torch

    if scores.shape[1] == 1:
        upper = scores.float().sigmoid()
        return torch.cat([1 - upper, upper], dim=1)
    return scores.float().softmax(dim=1)


def _overlap_terms(scores: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities and truth of each class (B, K, …), and the weights (B, 1, …), 0 if not annotated."""
    import torch

    probabilities = _probabilities(scores)
    classes = torch.arange(1, probabilities.shape[1] + 1, device=target.device)
    shape = (1, -1) + (1,) * (target.ndim - 1)
    truth = (target[:, None] == classes.view(shape)).float()
    return probabilities, truth, (_pixel_weights(target, weight) * (target > 0))[:, None]


def _pixel_weights(target: Tensor, weight: Tensor | None) -> Tensor:
    import torch

    if weight is None:
        return torch.ones_like(target, dtype=torch.float32)
    if weight.ndim == 1:
        return weight[(target.long() - 1).clamp_min(0)]
    return weight


@dataclass(frozen=True)
class Loss:
    """A loss that can be chosen."""

    function: Callable[..., Any]
    """From (scores, target, weight, **parameters) to the loss, or its named parts, which are added."""
    parameters: tuple[str, ...]  # numbers of the loss, by the name that they have in the settings of a training
    title: str  # name in a form
    when_to_use: str  # what it does, and what it is for, in one sentence
    takes_weights: bool = True  # whether weights of pixels and classes change it


LOSSES = {
    "combined": Loss(
        combined,
        (),
        "Cross-entropy and Dice",
        "Cross-entropy and half of Dice: stable, and fair to rare classes. Right for most images.",
    ),
    "dice": Loss(
        dice,
        (),
        "Dice",
        "All classes count the same, however rare: for small or thin objects on much background.",
        takes_weights=False,
    ),
    "weighted-ce": Loss(
        weighted_cross_entropy,
        (),
        "Weighted cross-entropy",
        "Each pixel counts by the weight of its class: if one class matters more, such as 1,10 for tumour.",
    ),
    "focal": Loss(
        focal,
        ("gamma", "alpha"),
        "Focal",
        "Pixels that are still wrong count most: if most of the image is easy and a small part is hard.",
    ),
    "tversky": Loss(
        tversky,
        ("alpha", "beta"),
        "Tversky",
        "Dice with a price for each kind of mistake: where missing a little of a class is worse than too much of it.",
        takes_weights=False,
    ),
}
"""Every loss, by its name in settings, files and commands."""


def loss_parameters(names: Iterable[str] = LOSSES) -> tuple[str, ...]:
    """Return the numbers that the losses of these names have, each once."""
    return tuple(dict.fromkeys(number for name in names for number in LOSSES[name].parameters))


def losses_with(parameter: str) -> tuple[str, ...]:
    """Return the names of the losses that have this number."""
    return tuple(name for name, loss in LOSSES.items() if parameter in loss.parameters)
