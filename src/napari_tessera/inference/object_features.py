"""Features of the objects a U-Net found, and the probability that each is an object, by logistic regression.

A U-Net scores pixels, not objects. Debris, glow and parts of nuclei can have high scores pixel by pixel; their size,
outline and the agreement of their pixels tell them from objects. The features are measured in one pass over the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from napari_tessera.algorithms.jit import njit
from napari_tessera.algorithms.relabel import only
from napari_tessera.core.jobs import Job, Progress, bands, subtask

PIXELS, OUTLINE, OBJECT, OBJECT_OUTLINE, DISTANCE, SIZE, SIZE_SQUARED = range(7)
"""Columns of `ObjectSums.sums`: pixels; pixels on the outline; sums of scores over the ones or the others."""
Y, X, YY, YX, XX = range(7, 12)
"""Columns of `ObjectSums.sums`: sums of positions, and of their products."""
FACES, TOUCHING, EDGE = range(12, 15)
"""Columns of `ObjectSums.sums`: faces towards other labels, of these towards objects; pixels at the image's edge."""
COLUMNS = 15
MOST_OBJECT, MOST_DISTANCE, MOST_BORDER = range(3)
"""Columns of `ObjectSums.most`."""


class ObjectSums(NamedTuple):
    """Sums over the pixels of each object, by label number; row 0 is not used."""

    sums: np.ndarray  # float64 (N + 1, 15), see the columns above
    most: np.ndarray  # float32 (N + 1, 3), highest values in each object; 0 where there are none above


def accumulate(
    labels: np.ndarray, object_: np.ndarray, border: np.ndarray, distance: np.ndarray, size: np.ndarray
) -> Job[ObjectSums]:
    """Add up a network's scores over the pixels of each object of a plane, labelled 1…N."""
    count = int(labels.max(initial=0)) + 1
    found = ObjectSums(np.zeros((count, COLUMNS)), np.zeros((count, 3), np.float32))
    cut = bands(*labels.shape)
    for done, rows in enumerate(cut):
        yield Progress(done, len(cut), "Weighing what was found")
        _gather_rows(labels, object_, border, distance, size, found.sums, found.most, rows.start, rows.stop)
    return found


@njit
def _gather_rows(labels, object_, border, distance, size, sums, most, start, stop):
    for y in range(start, stop):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label == 0:
                continue
            own = sums[label]
            own[PIXELS] += 1
            own[OBJECT] += object_[y, x]
            own[DISTANCE] += distance[y, x]
            own[SIZE] += size[y, x]
            own[SIZE_SQUARED] += size[y, x] ** 2
            _add_place(own, y, x)
            if _look_around(labels, y, x, own):
                own[OUTLINE] += 1
                own[OBJECT_OUTLINE] += object_[y, x]
            most[label, MOST_OBJECT] = max(most[label, MOST_OBJECT], object_[y, x])
            most[label, MOST_DISTANCE] = max(most[label, MOST_DISTANCE], distance[y, x])
            most[label, MOST_BORDER] = max(most[label, MOST_BORDER], border[y, x])


@njit
def _add_place(own, y, x):
    own[Y] += y
    own[X] += x
    own[YY] += y * y
    own[YX] += y * x
    own[XX] += x * x


@njit
def _look_around(labels, y, x, own):
    """Count the faces towards other labels, and return whether there are any; beyond the image there are none."""
    height, width = labels.shape
    before = own[FACES]
    if y in (0, height - 1) or x in (0, width - 1):
        own[EDGE] += 1
    if y > 0:
        _count_face(labels[y, x], labels[y - 1, x], own)
    if y + 1 < height:
        _count_face(labels[y, x], labels[y + 1, x], own)
    if x > 0:
        _count_face(labels[y, x], labels[y, x - 1], own)
    if x + 1 < width:
        _count_face(labels[y, x], labels[y, x + 1], own)
    return own[FACES] > before


@njit
def _count_face(label, other, own):
    if other != label:
        own[FACES] += 1
        if other > 0:
            own[TOUCHING] += 1


@dataclass(frozen=True)
class PixelScores:
    """Scores of each pixel by an instance network, float32 ([Z,] Y, X) on its own grid."""

    object: np.ndarray  # probability that it belongs to any object, borders between objects included
    border: np.ndarray  # probability that two objects touch there
    distance: np.ndarray  # distance to the edge of the object over the largest in it, 0…1
    size: np.ndarray | None = None  # natural logarithm of the diameter of the object over the usual one


FARTHEST = 4.0
"""Standard deviations at which features are clipped, since nothing was learnt beyond."""


@dataclass(frozen=True)
class Regression:
    """The probability that something is an object, from F features of it, by logistic regression."""

    centre: np.ndarray  # (F,), mean
    spread: np.ndarray  # (F,), and standard deviation of each feature
    weights: np.ndarray  # (1 + F + F (F + 1) / 2,): of 1, of the features, and of their products as in `products`

    @classmethod
    def of(cls, fields: Mapping[str, Sequence[float]]) -> Regression:
        """Read the regression from a part of a model's header."""
        return cls(*(np.array(fields[name], np.float64) for name in ("centre", "spread", "weights")))

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return how likely each of N is, from its features (N, F): (N,)."""
        terms = products(np.clip((features - self.centre) / self.spread, -FARTHEST, FARTHEST))
        return expit(terms @ self.weights[1:] + self.weights[0])


def products(values: np.ndarray) -> np.ndarray:
    """Return values (N, F), followed by all products of two of them: (N, F + F (F + 1) / 2).

    Examples
    --------
    >>> products(np.array([[2.0, 3.0]])).tolist()
    [[2.0, 3.0, 4.0, 6.0, 9.0]]
    """
    first, second = np.triu_indices(values.shape[1])
    return np.concatenate([values, values[:, first] * values[:, second]], axis=1)


FEATURES = (
    "log area", "object", "most object", "object on outline", "most distance", "distance", "size", "spread of size",
    "error of size", "outline", "log scale", "bulges", "elongation", "touching", "edge", "most border",
)  # fmt: skip
"""Features of an object: the natural logarithm of its area over the usual one; means and highest values of
the scores; the difference of its area and the size scores of its pixels; its outline over the root of its area; the
natural logarithm of the network's pixels per pixel of the image (what is small in many pixels is no noise), of its area
over that of the ellipse with its moments, and of the ratio of that ellipse's axes; the shares of its outline that
touch other objects, and, over the root of its area, that lie at the edge of the image."""
TINY = 1e-6
MORE_AFAR = 0.15
FAR_SCALE, FEW_OBJECTS = 3.0, 8
MANY_OBJECTS = 30


@dataclass(frozen=True)
class LikenessLimits:
    """Limits of `Likeness`: all images of the training but a few in a hundred lie within, most others beyond.

    These are for nuclei; the header of a model of many kinds of objects holds its own.
    """

    least_probability: float = 0.6
    farthest_median: float = 0.95
    least_spread: float = 0.33

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> LikenessLimits:
        """Read the limits from a part of a model's header."""
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__ if name in fields})


@dataclass(frozen=True)
class Scoring:
    """Which objects are dropped, by a regression on their features.

    Small objects are often debris. A large one that seems unlikely may be of a kind that was not learnt, and is dropped
    only at a very low probability.
    """

    least: float  # probability below which an object is dropped,
    least_of_small: float  # and a small object
    small_share: float  # share of the usual area below which an object is small
    regression: Regression
    usual_px: float  # area of an object of the usual size
    factor: float  # the network's pixels per pixel of the image
    limits: LikenessLimits = LikenessLimits()

    @classmethod
    def of(cls, header: Mapping[str, Any], usual_px: float, factor: float) -> Scoring:
        """Read the scoring from the header of a model that has one."""
        fields = header["scoring"]
        least, least_of_small, small_share = (fields[name] for name in ("least", "least_of_small", "small_share"))
        limits = LikenessLimits.of(fields)
        return cls(least, least_of_small, small_share, Regression.of(fields), usual_px, factor, limits)

    def are_likely(self, features: np.ndarray) -> np.ndarray:
        """Return which objects are to be kept, from their features (N, 16)."""
        is_small = features[:, FEATURES.index("log area")] < np.log(self.small_share)
        return self.regression.probabilities(features) >= np.where(is_small, self.least_of_small, self.least)


@dataclass(frozen=True)
class Likeness:
    """How far the objects found are like those of the model's training; distances in its standard deviations."""

    probability: float = 1.0  # that they are objects, mean over the pixels, dropped ones included
    distance: float = 0.0  # of the median of those kept from the mean; root mean square over the features
    spread: float = 1.0  # of those kept; mean over the features
    count: int = 0  # how many are kept
    scale: float = 0.0  # how far the magnification of the image is from the mean
    is_drawing: bool = False  # the image has only a few different values
    limits: LikenessLimits = LikenessLimits()

    @property
    def is_foreign(self) -> bool:
        """Whether the objects found show that the image does not look like those of the training."""
        is_far = abs(self.scale) > FAR_SCALE
        is_unlikely = self.probability < self.limits.least_probability + MORE_AFAR * is_far
        is_uniform = self.count >= MANY_OBJECTS and self.spread < self.limits.least_spread
        are_few_and_far = is_far and 0 < self.count < FEW_OBJECTS
        is_unlike = self.distance > self.limits.farthest_median or is_uniform or are_few_and_far
        return is_unlikely or is_unlike or self.is_drawing


def knows_its_objects(header: Mapping[str, Any]) -> bool:
    """Return whether a model's scoring was learnt from its own training, not from that of the model it started from."""
    start = (header.get("training", {}).get("settings") or {}).get("start") or {}
    return "scoring" not in start or start["scoring"] != header.get("scoring")


def likeness_of(features: np.ndarray, sizes: np.ndarray, scoring: Scoring) -> Likeness:
    """Compare N objects, of so many pixels, with those of the training."""
    found = Likeness(limits=scoring.limits)
    if not len(sizes):
        return found
    found = replace(found, probability=float(np.average(scoring.regression.probabilities(features), weights=sizes)))
    kept = scoring.are_likely(features)
    if not kept.any():
        return found
    deviations = (features[kept] - scoring.regression.centre) / scoring.regression.spread
    of_scale = FEATURES.index("log scale")
    scale, others = float(deviations[0, of_scale]), np.delete(deviations, of_scale, axis=1)
    distance = float(np.sqrt(np.mean(np.median(others, axis=0) ** 2)))
    spread = float(others.std(axis=0).mean())
    return replace(found, distance=distance, spread=spread, count=int(kept.sum()), scale=scale)


def measured(labels: np.ndarray, scores: PixelScores, usual_px: float, factor: float) -> Job[np.ndarray]:
    """Measure the features of the objects of a plane: float64 (N, 16), in the order of their numbers."""
    size = np.zeros_like(scores.distance) if scores.size is None else scores.size
    found = yield from accumulate(labels, scores.object, scores.border, scores.distance, size)
    return features_of(found, usual_px, factor)


def features_of(found: ObjectSums, usual_px: float, factor: float) -> np.ndarray:
    """Turn sums into features; see `FEATURES`."""
    sums, most = found.sums[1:].T, found.most[1:].T
    pixels, outline = np.maximum(sums[PIXELS], 1), np.maximum(sums[OUTLINE], 1)
    side = np.sqrt(pixels)
    log_area = np.log(pixels / usual_px)
    size = sums[SIZE] / pixels
    variance = np.maximum(sums[SIZE_SQUARED] / pixels - size**2, 0)
    bulges, elongation = shape_of(sums, pixels)
    features = [
        log_area, sums[OBJECT] / pixels, most[MOST_OBJECT], sums[OBJECT_OUTLINE] / outline,
        most[MOST_DISTANCE], sums[DISTANCE] / pixels, size, np.sqrt(variance), log_area / 2 - size,
        sums[OUTLINE] / side, np.full(len(pixels), np.log(factor)), bulges, elongation,
        sums[TOUCHING] / np.maximum(sums[FACES], 1), sums[EDGE] / side,
        most[MOST_BORDER],
    ]  # fmt: skip
    return np.stack(features, axis=1)


def shape_of(sums: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare objects with the ellipses that have their moments, a pixel being a square.

    Returns two logarithms for each object: of its area over that of the ellipse (0 for an ellipse, less with bays), and
    of the ellipse's longer axis over the shorter one.
    """
    y, x = sums[Y] / pixels, sums[X] / pixels
    yy = sums[YY] / pixels - y**2 + 1 / 12
    xx = sums[XX] / pixels - x**2 + 1 / 12
    yx = sums[YX] / pixels - y * x
    product = np.maximum(yy * xx - yx**2, TINY)  # of the two variances along the axes
    half, apart = (yy + xx) / 2, np.sqrt(np.maximum((yy - xx) ** 2 / 4 + yx**2, 0))
    ratio = (half + apart) / np.maximum(half - apart, TINY)
    return np.log(pixels / (4 * np.pi * np.sqrt(product))), np.log(ratio) / 2


def without_unlikely(labels: np.ndarray, scores: PixelScores, scoring: Scoring) -> Job[np.ndarray]:
    """Drop the unlikely objects of a plane labelled 1…N, in place, and number the others in the order they had."""
    features = yield from subtask(measured(labels, scores, scoring.usual_px, scoring.factor), 0, 1, 2)
    return (yield from subtask(only(labels, np.append(False, scoring.are_likely(features))), 1, 1, 2))
