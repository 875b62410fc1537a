"""Features of detections (contrast, noise, mask), and the score of a detection from them by logistic regression.

The score of a box is given before there is a mask. It is less reliable for objects much smaller than usual, and for
uncertain masks. Detections in the noise of an empty image are removed: the noise of an object's pixels cancels out
except for a part that grows like the square root of their number.

References
----------
Huang et al. 2019, Mask Scoring R-CNN, doi:10.1109/CVPR.2019.00657. There a network learns the quality of a mask; here a
regression on few features does, so that a trained network need not be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_tessera.inference.decode_unet import usual_size
from napari_tessera.inference.object_features import Regression
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.models.mask_rcnn.detections import Detections

COLOURS = 3
"""Channels whose mean is brightness; see `intensity.network_channels`."""
MASK_LEVEL = 0.5
"""Probability above which a point belongs to a mask that is judged; what is painted may go by another one."""
AROUND = 0.25
"""Share of the sides of a box by which it is grown on each side, for the ground around an object to be seen."""
GROUND = 0.25
"""Share of the points around an object that are darker than its ground: the others may be of objects beside it."""
AT_ONCE = 1024
"""Detections measured at a time, which bounds the memory."""


def contrasts(image: Tensor, boxes: Tensor, masks: Tensor) -> Tensor:
    """Measure how much brighter N detections are than the ground around them: float32 (N,).

    That is the mean brightness within the mask minus that of the ground: the lower quartile of the points outside it,
    in the box and a little around it. `image` is what `network_channels` makes of an image, `boxes` (N, 4) are in its
    pixels, and `masks` (N, m, m) are probabilities, with an even m.
    """
    brightness = image[:COLOURS].mean(0)
    parts = zip(boxes.split(AT_ONCE), masks.split(AT_ONCE), strict=True)
    return torch.cat([_contrasts(brightness, *part) for part in parts])


def mask_areas(found: Detections) -> Tensor:
    """Return the area of each mask, at least that of one of its points: float64 (N,) px²."""
    is_inside = found.masks > MASK_LEVEL
    points = is_inside.sum(dim=(1, 2)).clamp(min=1).double()
    width, height = (found.boxes[:, 2:] - found.boxes[:, :2]).double().clamp(min=0).unbind(1)
    return (points / is_inside[0].numel() if len(points) else points) * width * height


def _contrasts(brightness: Tensor, boxes: Tensor, masks: Tensor) -> Tensor:
    is_inside = functional.avg_pool2d(masks[:, None].float(), 2)[:, 0] > MASK_LEVEL
    around = round(AROUND * is_inside.shape[-1])
    is_inside = functional.pad(is_inside, (around,) * 4)
    values = _sampled(brightness, boxes, is_inside.shape[-1], around)
    inside = (values * is_inside).sum((1, 2)) / is_inside.sum((1, 2)).clamp(min=1)
    outside = values.masked_fill(is_inside, torch.inf).flatten(1).sort(1).values
    rank = ((~is_inside).sum((1, 2)) * GROUND).long()
    return inside - outside.gather(1, rank[:, None])[:, 0]


def _sampled(brightness: Tensor, boxes: Tensor, points: int, around: int) -> Tensor:
    """Take the nearest pixels on a grid over each box, grown by `around` points: (N, points, points)."""
    steps = (torch.arange(points) - around + 0.5) / (points - 2 * around)
    at = boxes[:, :2, None] + (boxes[:, 2:] - boxes[:, :2])[..., None] * steps  # (N, 2, points)
    x, y = at.floor().long().unbind(1)
    height, width = brightness.shape
    return brightness[y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None]]


FEATURES = ("score", "log area", "log scale", "inside")
"""What is known of a detection: the log odds of its score; the natural logarithms of the area of its mask over the
usual one, and of the network's pixels per pixel of the image; the mean of what the network says within the mask."""
TINY = 1e-4


def lowest_score(header: Mapping[str, Any], faintest: float) -> float:
    """Return the score from which on detections are needed: to be rescored, or if not, as they are."""
    return float(header["scoring"]["lowest"]) if header.get("scoring") else faintest


def rescore(found: Detections, header: Mapping[str, Any], scale: float) -> Detections:
    """Give detections the probability of being an object as their score, if the model's header has a regression.

    `found` is in pixels of the image, `scale` the network's pixels per pixel of the image.
    """
    if not header.get("scoring") or not header.get("diameter_px"):
        return found
    features = features_of(found, usual_size(header["diameter_px"], 2), scale)
    return found.with_scores(Regression.of(header["scoring"]).probabilities(features))


def features_of(found: Detections, usual_px: float, scale: float) -> np.ndarray:
    """Measure N detections: float64 (N, 4), see `FEATURES`.

    `found` is in pixels of the image, `usual_px` the area of an object of the usual size in the network's pixels, and
    `scale` the network's pixels per pixel of the image.
    """
    is_inside = found.masks > MASK_LEVEL
    points = is_inside.sum(dim=(1, 2)).clamp(min=1).double()
    inside = (found.masks * is_inside).sum(dim=(1, 2)) / points
    return np.stack(
        [
            log_odds(found.scores.double().numpy()),
            np.log(np.maximum(mask_areas(found).numpy() * scale**2, 1) / usual_px),
            np.full(len(found.scores), np.log(scale)),
            inside.double().numpy(),
        ],
        axis=1,
    )


def log_odds(likely: np.ndarray | float) -> np.ndarray:
    """Return the log odds of probabilities; those of 0 and 1 are finite.

    Examples
    --------
    >>> log_odds(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [-9.21, 0.0, 9.21]
    """
    return np.log((likely + TINY) / (1 - likely + TINY))


BANDS, BAND_PX = 16, 8
"""What is looked at: so many bands of so many rows, spread over the plane."""
MEDIAN_OF_DIFFERENCES = 0.954
"""Median of the distance of two normally distributed values, over their standard deviation."""
LEAST = 20.0
"""Contrast of an object over the noise of its mean brightness. Of the nuclei of BBBC038 that the shipped network finds,
one in a thousand has less than 31; of what it sees in magnified noise, nothing has more than 11."""


def noise_of(view: NormalizedImage) -> float:
    """Return the standard deviation of the noise of a plane's pixels, as a share of the way from black to white.

    It is measured by neighbours along X, most of which lie in the same object or on the same ground.
    """
    height, _ = view.shape
    starts = np.unique(np.linspace(0, max(0, height - BAND_PX), BANDS).astype(int))
    bands = [view.read((slice(start, start + BAND_PX), slice(None)))[:COLOURS].mean(0) for start in starts.tolist()]
    differences = np.abs(np.diff(np.concatenate(bands), axis=-1))
    return float(np.median(differences)) / MEDIAN_OF_DIFFERENCES if differences.size else 0.0


def without_noise(found: Detections, noise: float) -> Detections:
    """Leave out the detections, in pixels of the image, whose contrast is no more than its noise may have.

    What is much darker than the ground is kept: there, the ground is bright objects all around.
    """
    if found.contrast is None:
        return found
    is_seen = found.contrast.double().abs() * mask_areas(found).sqrt() >= LEAST * noise
    return found if bool(is_seen.all()) else found.chosen(is_seen.nonzero()[:, 0])
