"""How likely it is that an object is one: judged by what the network says of its pixels, as learnt from known images.

A network says of each pixel what it is, and of no object whether it is there. Debris, glow and parts of nuclei can look
sure pixel by pixel, and yet be known by their size, their outline, and by how well the pixels agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels import evidence
from napari_tessera.kernels.dropping import only
from napari_tessera.kernels.evidence import Evidence, gather
from napari_tessera.large.pixel_scores import PixelScores
from napari_tessera.large.regression import Regression

FEATURES = (
    "log area", "object", "most object", "object on outline", "most distance", "distance", "size", "spread of size",
    "error of size", "outline", "log scale", "bulges", "elongation", "touching", "edge", "most border",
)  # fmt: skip
"""What is known of an object: the natural logarithm of its area over the usual one; means and highest values of what
the network says; how far its area is from the size that its pixels speak of; its outline over the root of its area; the
natural logarithm of the network's pixels per pixel of the image (what is small in many pixels is no noise), of its area
over that of the ellipse with its moments, and of the ratio of that ellipse's axes; the shares of its outline that
touch other objects, and, over the root of its area, that lie at the edge of the image."""
TINY = 1e-6


@dataclass(frozen=True)
class Scoring:
    """Which objects are dropped, by a regression on their features.

    Parameters
    ----------
    least, least_of_small : float
        Probability below which an object is dropped. Small ones are often debris; a large one that seems unlikely may
        be of a kind that nothing was learnt of, and is dropped only where it is hardly any.
    small_share : float
        Share of the usual area below which an object is small.
    regression : Regression
        On the features of an object.
    usual_px : float
        Area of an object of the usual size.
    factor : float
        The network's pixels per pixel of the image.
    """

    least: float
    least_of_small: float
    small_share: float
    regression: Regression
    usual_px: float
    factor: float

    @classmethod
    def of(cls, header: Mapping[str, Any], usual_px: float, factor: float) -> Scoring | None:
        """Read it from a model's header; None where there is none."""
        said = header.get("scoring")
        if not said:
            return None
        least, least_of_small, small_share = (said[name] for name in ("least", "least_of_small", "small_share"))
        return cls(least, least_of_small, small_share, Regression.of(said), usual_px, factor)

    def are_likely(self, features: np.ndarray) -> np.ndarray:
        """Say which objects are to be kept, from their features (N, 16)."""
        is_small = features[:, FEATURES.index("log area")] < np.log(self.small_share)
        return self.regression.probabilities(features) >= np.where(is_small, self.least_of_small, self.least)


def measured(labels: np.ndarray, scores: PixelScores, usual_px: float, factor: float) -> Job[np.ndarray]:
    """Measure the features of the objects of a plane: float64 (N, 16), in the order of their numbers."""
    size = np.zeros_like(scores.distance) if scores.size is None else scores.size
    found = yield from gather(labels, scores.object, scores.border, scores.distance, size)
    return features_of(found, usual_px, factor)


def features_of(found: Evidence, usual_px: float, factor: float) -> np.ndarray:
    """Turn sums into features; see `FEATURES`."""
    sums, most = found.sums[1:].T, found.most[1:].T
    pixels, outline = np.maximum(sums[evidence.PIXELS], 1), np.maximum(sums[evidence.OUTLINE], 1)
    side = np.sqrt(pixels)
    log_area = np.log(pixels / usual_px)
    size = sums[evidence.SIZE] / pixels
    variance = np.maximum(sums[evidence.SIZE_SQUARED] / pixels - size**2, 0)
    bulges, elongation = shape_of(sums, pixels)
    features = [
        log_area, sums[evidence.OBJECT] / pixels, most[evidence.MOST_OBJECT], sums[evidence.OBJECT_OUTLINE] / outline,
        most[evidence.MOST_DISTANCE], sums[evidence.DISTANCE] / pixels, size, np.sqrt(variance), log_area / 2 - size,
        sums[evidence.OUTLINE] / side, np.full(len(pixels), np.log(factor)), bulges, elongation,
        sums[evidence.TOUCHING] / np.maximum(sums[evidence.FACES], 1), sums[evidence.EDGE] / side,
        most[evidence.MOST_BORDER],
    ]  # fmt: skip
    return np.stack(features, axis=1)


def shape_of(sums: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare objects with the ellipses that have their moments, a pixel being a square.

    Returns
    -------
    bulges : (N,) array
        Natural logarithm of the area over that of the ellipse: 0 for an ellipse, less with bays.
    elongation : (N,) array
        Natural logarithm of the longer axis over the shorter one.
    """
    y, x = sums[evidence.Y] / pixels, sums[evidence.X] / pixels
    yy = sums[evidence.YY] / pixels - y**2 + 1 / 12
    xx = sums[evidence.XX] / pixels - x**2 + 1 / 12
    yx = sums[evidence.YX] / pixels - y * x
    product = np.maximum(yy * xx - yx**2, TINY)  # of the two variances along the axes
    half, apart = (yy + xx) / 2, np.sqrt(np.maximum((yy - xx) ** 2 / 4 + yx**2, 0))
    ratio = (half + apart) / np.maximum(half - apart, TINY)
    return np.log(pixels / (4 * np.pi * np.sqrt(product))), np.log(ratio) / 2


def without_unlikely(labels: np.ndarray, scores: PixelScores, scoring: Scoring) -> Job[np.ndarray]:
    """Drop the objects of a plane that are hardly any, and number the others in the order they had.

    Parameters
    ----------
    labels : array of int (Y, X)
        0 background, 1…N; changed in place.
    scores : PixelScores
    scoring : Scoring
    """
    features = yield from part_of(measured(labels, scores, scoring.usual_px, scoring.factor), 0, 1, 2)
    return (yield from part_of(only(labels, np.append(False, scoring.are_likely(features))), 1, 1, 2))
