"""Rescore detections by logistic regression: on features of each (contrast, noise, mask), and on a U-Net's scores.

The score of a box is given before there is a mask. It is less reliable for objects much smaller than usual, and for
uncertain masks. Detections in the noise of an empty image are removed: the noise of an object's pixels cancels out
except for a part that grows like the square root of their number. A U-Net classifies pixels instead of boxes: objects
that both networks find are more often right.

References
----------
Huang et al. 2019, Mask Scoring R-CNN, doi:10.1109/CVPR.2019.00657. There a network learns the quality of a mask; here a
regression on few features does, so that a trained network need not be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_tessera.core.jobs import Job, in_background, subtask
from napari_tessera.core.tiles import tiles
from napari_tessera.inference.decode_unet import decoding_of, find_objects, pixel_scores, scoring_of, usual_size
from napari_tessera.inference.object_features import Regression, measured
from napari_tessera.inference.pixel_grid import Grid, NormalizedImage
from napari_tessera.inference.sliding_window import Scores, predict
from napari_tessera.models.mask_rcnn.detections import Detections

if TYPE_CHECKING:
    from napari_tessera.inference.predictor import Detector, Network

COLOURS = 3
"""Channels whose mean is brightness; see `intensity.network_channels`."""
MASK_LEVEL = 0.5
"""Probability above which a point belongs to a mask that is measured; labels may be made with another one."""
AROUND = 0.25
"""Share of the sides of a box by which it is grown on each side, so that it holds the ground around an object."""
GROUND = 0.25
"""Share of the points around an object that are darker than its ground: the others may be of objects beside it."""
MEASURED_AT_ONCE = 1024
"""Detections measured at a time, which bounds the memory."""


def contrasts(image: Tensor, boxes: Tensor, masks: Tensor) -> Tensor:
    """Measure how much brighter N detections are than the ground around them: float32 (N,).

    That is the mean brightness within the mask minus that of the ground: the lower quartile of the points outside it,
    in the box and a little around it. `image` is what `network_channels` makes of an image, `boxes` (N, 4) are in its
    pixels, and `masks` (N, m, m) are probabilities, with an even m.
    """
    brightness = image[:COLOURS].mean(0)
    parts = zip(boxes.split(MEASURED_AT_ONCE), masks.split(MEASURED_AT_ONCE), strict=True)
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
usual one, and of the network's pixels per pixel of the image; the mean probability within the mask."""
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
one in a thousand has less than 31; of its detections in magnified noise, none has more than 11."""


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


UNET_FEATURES = ("overlap", "likely")
"""Features of a detection by a U-Net: the intersection over union with the object that shares most with it, and the log
odds that this object is real. An object counts for one detection only, the one that overlaps it most; for others, and
where there is no object, the odds are those of probability 0."""
OWN_PX, MARGIN_PX = 1792, 128
"""Side of the part of the U-Net's grid whose detections are compared at a time, and of the margin around it."""
COMPARED_AT_ONCE = 256
"""Detections compared at a time, which bounds the memory."""


def rescore_with_unet(
    network: Detector, view: NormalizedImage, found: Detections, factor: float, scores: Scores | None = None
) -> Job[Detections]:
    """Give the detections of a plane the probability of being an object as their score, if the header has a regression.

    Without a second network, `rescore` does it. `found` is in pixels of the plane, `factor` the network's pixels per
    pixel of the plane along X. `scores` are those of the second network for the whole plane, if known already.
    """
    scale = sqrt(prod(view.factors(factor)))
    if network.second is None or not len(found.labels):
        return rescore(found, network.header, scale)
    known = features_of(found, usual_size(network.header["diameter_px"], 2), scale)
    features = yield from unet_features(found, view, network.second, factor, scores)
    regression = Regression.of(network.header["second_opinion"])
    return found.with_scores(regression.probabilities(np.concatenate([known, features], axis=1)))


def unet_features(
    found: Detections, view: NormalizedImage, network: Network, factor: float, scores: Scores | None = None
) -> Job[np.ndarray]:
    """Measure how a U-Net that finds objects scores each of N detections: float64 (N, 2), see `UNET_FEATURES`."""
    features = np.tile([0.0, log_odds(0.0)], (len(found.labels), 1))
    boxes = found.boxes.double().numpy()
    x, y = ((boxes[:, axis] + boxes[:, 2 + axis]) / 2 for axis in (0, 1))
    whole = view.grid_at(factor)
    sides, margins = ([max(1, ceil(length * each)) for each in whole.scale] for length in (OWN_PX, MARGIN_PX))
    parts = list(tiles(view.shape, sides, margins))
    for done, part in enumerate(parts):
        read, grid = whole.crop(part.read, (network.step,) * view.ndim)
        is_near, is_own = (
            _lie_in(y, across[0], view.shape[0]) & _lie_in(x, across[1], view.shape[1]) for across in (read, part.write)
        )
        if is_own.any():
            there = found.chosen(np.flatnonzero(is_near)).moved(*(-along.start for along in read))
            known = scores if len(parts) == 1 else None
            looking = _seen_there(there, view.crop(read), network, grid, known)
            near = yield from subtask(looking, done, 1, len(parts))
            features[is_own] = near[is_own[is_near]]
    return features


def _lie_in(places: np.ndarray, part: slice, length: int) -> np.ndarray:
    places = places.clip(0, length - 1)
    return (places >= part.start) & (places < part.stop)


def _seen_there(
    found: Detections, view: NormalizedImage, network: Network, grid: Grid, known: Scores | None
) -> Job[np.ndarray]:
    """Find the U-Net's objects, all of them, and compare the detections with them."""
    predicting = predict(network, grid, view.read)
    scores = (yield from subtask(predicting, 0, 16, 20)) if known is None else known
    pixels = pixel_scores(scores)
    labels = yield from subtask(find_objects(pixels, decoding_of(network.header)), 16, 2, 20)
    scoring = scoring_of(network.header, usual_size(network.header["diameter_px"], 2), pixels, grid)
    if scoring is None:
        raise ValueError("the second network does not score objects")
    features = yield from subtask(measured(labels, pixels, scoring.usual_px, scoring.factor), 18, 1, 20)
    likely = scoring.regression.probabilities(features)
    on_grid = found.moved(*(-begin for begin in grid.origin)).scaled(*(1 / each for each in grid.scale))
    comparing = partial(compared, on_grid, labels, likely)
    return (yield from subtask(in_background(comparing, "Comparing"), 19, 1, 20))


def compared(found: Detections, labels: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Compare N detections with the objects that share most with them: float64 (N, 2), see `UNET_FEATURES`.

    The detections are in pixels of `labels`, which are 0 background, 1…K; `likely` (K,) is the probability that each of
    these objects is real.
    """
    sizes = np.bincount(labels.reshape(-1), minlength=len(likely) + 1)
    odds = log_odds(np.append(0.0, likely))
    compared_parts = [
        _compared(boxes.double().numpy(), (masks > MASK_LEVEL).numpy(), labels, sizes)
        for boxes, masks in zip(found.boxes.split(COMPARED_AT_ONCE), found.masks.split(COMPARED_AT_ONCE), strict=True)
    ]
    overlaps, numbers = (np.concatenate(each) for each in zip(*compared_parts, strict=True))
    return np.stack([overlaps, odds[np.where(_overlap_most(overlaps, numbers), numbers, 0)]], axis=1)


def _overlap_most(overlaps: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return whether no other detection overlaps the same object more; of equal ones, the first does."""
    order = np.lexsort((-overlaps, numbers))
    is_first = np.append(True, np.diff(numbers[order]) != 0)
    is_most = np.empty(len(order), bool)
    is_most[order] = is_first
    return is_most


def _compared(
    boxes: np.ndarray, is_inside: np.ndarray, labels: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the overlap with the object that shares most with each mask, and the number of that object; 0 for none."""
    count, points = len(boxes), is_inside.shape[-1]
    steps = (np.arange(points) + 0.5) / points
    across, down = (boxes[:, axis, None] + (boxes[:, 2 + axis] - boxes[:, axis])[:, None] * steps for axis in (0, 1))
    rows, columns = (at.astype(int).clip(0, side - 1) for at, side in zip((down, across), labels.shape, strict=True))
    there = np.where(is_inside, labels[rows[:, :, None], columns[:, None, :]], 0)
    pairs = (np.arange(count)[:, None, None] * len(sizes) + there)[there > 0]
    kinds, shared = np.unique(pairs, return_counts=True)
    owners, numbers = np.divmod(kinds, len(sizes))
    order = np.lexsort((-numbers, shared, owners))  # what shares most comes last, of equals the first object
    most, largest = np.zeros(count, int), np.zeros(count, int)
    most[owners[order]], largest[owners[order]] = shared[order], numbers[order]
    point_px = np.prod((boxes[:, 2:] - boxes[:, :2]).clip(0), axis=1) / points**2
    mask_px, shared_px = is_inside.sum((1, 2)) * point_px, most * point_px
    together = mask_px + np.where(most > 0, np.take(sizes, largest), 0) - shared_px
    return shared_px / np.maximum(together, 1), largest
