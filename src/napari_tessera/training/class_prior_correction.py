"""Correct the class prior: match predicted class frequencies to their estimate on unlabelled pixels.

Users annotate all classes with strokes of similar length, also rare ones. A network trained on them predicts a rare
class too often. The true frequency is estimated from the pixels without annotation: the predicted frequency there,
corrected by the error rates on the annotation. Then the class scores are shifted until the frequencies match.

References
----------
Forman 2008, doi:10.1007/s10618-008-0097-y ("adjusted count"); Saerens et al. 2002, doi:10.1162/089976602753284446
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import nnls

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.training.data.example import BACKGROUND, NOT_PAINTED, Example
from napari_tessera.training.data.patches import finished, sample_channels, sample_labels

if TYPE_CHECKING:
    from napari_tessera.models.weights import Network

PATCHES = 20
SIDE_PX, MARGIN_PX = {2: 192, 3: 48}, {2: 24, 3: 8}
"""Number and side of the patches, and the width of their edge that is not counted, because context is missing there."""
FEWEST_PX = 100
"""With fewer annotated pixels, the error rates of a class are unknown."""
LARGEST_UNPAINTED = 0.5
"""If more than this share of the patches is annotated, the annotation itself gives the class frequencies."""
LARGEST_CHANGE = 4.0
"""Largest factor by which the frequency of a class may change."""
ROUNDS = 100
PACE = 0.4
COUNTED_PX = 100_000
OUTSIDE = -1
BIAS = "heads.classes.bias"


def match_class_prior(net: Network, examples: Sequence[Example], seed: int) -> Job[np.ndarray | None]:
    """Shift the class scores so that the network predicts each class as often as it occurs in the images.

    `net` is a U-Net for classes, in eval mode; its bias is changed in place. The result is the estimated share (K,) of
    each class; None if nothing is changed, because too little or nearly everything is annotated.
    """
    scores, labels = [], []
    for done, (channels, paint) in enumerate(straight_patches(examples, seed)):
        yield Progress(done, PATCHES, "Estimating the share of each class")
        inner = (slice(MARGIN_PX[paint.ndim], -MARGIN_PX[paint.ndim]),) * paint.ndim
        is_inside = paint[inner] != OUTSIDE
        scores.append(scores_of(net, channels)[(slice(None), *inner)][:, is_inside])
        labels.append(paint[inner][is_inside])
    together, painted = np.concatenate(scores, axis=1), np.concatenate(labels)
    shares = shares_of_classes(together, painted)
    if shares is not None:
        add_to_bias(net, (yield from bias_for(together[:, painted == NOT_PAINTED], shares)))
    return shares


def add_to_bias(net: Network, by: np.ndarray) -> None:
    """Add a constant to the scores of each class; (K,)."""
    with torch.no_grad():
        for name, bias in net.named_parameters():
            if name == BIAS:
                bias.add_(torch.from_numpy(by).to(bias))


def straight_patches(examples: Sequence[Example], seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sample patches without augmentation: channels (C, [Z,] Y, X) and annotation ([Z,] Y, X), −1 outside."""
    rng = np.random.default_rng([seed, PATCHES])
    sizes = np.array([example.labels.size for example in examples], float)
    for index in rng.choice(len(examples), PATCHES, p=sizes / sizes.sum()):
        example = examples[index]
        ndim = example.labels.ndim
        shape = (SIDE_PX[ndim],) * ndim
        factors = np.array((example.anisotropy, 1.0, 1.0)[-ndim:])
        steps = np.indices(shape, dtype=np.float32) / factors.reshape(-1, *(1,) * ndim).astype(np.float32)
        margin = MARGIN_PX[ndim] / factors
        room = np.maximum(0, np.array(example.labels.shape) + 2 * margin - np.array(shape) / factors)
        places = steps + np.floor(rng.uniform(0, room + 1) - margin).astype(np.float32).reshape(-1, *(1,) * ndim)
        yield (
            finished(sample_channels(example, places, factors), example, example.levels.inverted),
            sample_labels(example.labels, places, OUTSIDE),
        )


def scores_of(net: Network, channels: np.ndarray) -> np.ndarray:
    """Return the scores of each class at each pixel: (K, [Z,] Y, X)."""
    device = next(net.parameters()).device
    with torch.inference_mode():
        found = net(torch.from_numpy(channels[None]).to(device))["classes"][0]
    return found.float().cpu().numpy()


def shares_of_classes(scores: np.ndarray, painted: np.ndarray) -> np.ndarray | None:
    """Estimate the share of each class in pixels without annotation: (K,), or None if there is too little annotation.

    `scores` are (K, pixels); `painted` (pixels,) is 0 where not annotated, 1…K for the classes.
    """
    n_classes = len(scores)
    counts = np.bincount(painted, minlength=n_classes + 1)
    if counts[BACKGROUND:].min() < FEWEST_PX or counts[NOT_PAINTED] < LARGEST_UNPAINTED * painted.size:
        return None
    found = scores.argmax(0)
    rates = np.array(
        [
            np.bincount(found[painted == number], minlength=n_classes) / max(1, count)
            for number, count in enumerate(counts)
        ]
    )
    return adjusted_count(rates[NOT_PAINTED], rates[BACKGROUND:])


def adjusted_count(found: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Estimate the true share (K,) of each class from the predicted share.

    `rates` (K, K) say for each true class (row) how often each class is predicted.

    Examples
    --------
    >>> adjusted_count(np.array([0.74, 0.26]), np.array([[0.9, 0.1], [0.1, 0.9]])).round(2)  # 10 % errors each way
    array([0.8, 0.2])
    """
    sums_to_one = 100.0
    n_classes = len(found)
    equations = np.vstack([rates.T, np.full(n_classes, sums_to_one)])
    shares, _ = nnls(equations, np.append(found, sums_to_one))
    bounded = np.clip(shares, found / LARGEST_CHANGE, found * LARGEST_CHANGE)
    return bounded / bounded.sum()


def bias_for(scores: np.ndarray, shares: np.ndarray) -> Job[np.ndarray]:
    """Return the constants for the scores (K, pixels) that give each class its share of the pixels."""
    scores = scores[:, :: max(1, scores.shape[1] // COUNTED_PX)]
    bias = np.zeros((len(scores), 1), np.float32)
    wanted = np.maximum(shares, 1 / scores.shape[1])
    for round_ in range(ROUNDS):
        yield Progress(PATCHES, PATCHES, "Correcting the share of each class")
        found = np.bincount((scores + bias).argmax(0), minlength=len(scores)) / scores.shape[1]
        ratio = np.log(wanted / np.maximum(found, 1 / scores.shape[1]))
        bias += (PACE * (1 - round_ / ROUNDS) * ratio[:, None]).astype(np.float32)
    return (bias - bias.mean())[:, 0]
