"""Rescore the detections of a Mask R-CNN with a U-Net's scores of the same image.

One network classifies boxes, the other pixels: objects that both find are more often right.
"""

from __future__ import annotations

from functools import partial
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.parallel import in_background
from napari_tessera.core.tiles import tiles
from napari_tessera.inference.decode_unet import decoding_of, find_objects, pixel_scores, scoring_of, usual_size
from napari_tessera.inference.detection_features import MASK_LEVEL, features_of, log_odds, rescore
from napari_tessera.inference.object_features import Regression, measured
from napari_tessera.inference.pixel_grid import Grid, NormalizedImage
from napari_tessera.inference.sliding_window import predict

if TYPE_CHECKING:
    from napari_tessera.inference.mask_rcnn_predictor import Detector
    from napari_tessera.inference.unet_predictor import Network
    from napari_tessera.models.mask_rcnn.detections import Detections

FEATURES = ("overlap", "likely")
"""What a U-Net says of a detection: the intersection over union with the object that shares most with it, and the log
odds of that object being one. It speaks for one detection only, the one that overlaps it most; for others of the same
object, and where it sees none, the odds are those of nothing."""
OWN_PX, MARGIN_PX = 1792, 128
"""Side of the part of the U-Net's grid whose detections are compared at a time, and what is seen around it."""
AT_ONCE = 256
"""Detections compared at a time, which bounds the memory."""


def rescore_with_unet(network: Detector, view: NormalizedImage, found: Detections, factor: float) -> Job[Detections]:
    """Give the detections of a plane the probability of being an object as their score, if the header has a regression.

    Without a second network, `rescore` does it. `found` is in pixels of the plane, `factor` the network's pixels per
    pixel of the plane along X.
    """
    scale = sqrt(prod(view.factors(factor)))
    if network.second is None or not len(found.labels):
        return rescore(found, network.header, scale)
    known = features_of(found, usual_size(network.header["diameter_px"], 2), scale)
    said = yield from opinions_on(found, view, network.second, factor)
    regression = Regression.of(network.header["second_opinion"])
    return found.with_scores(regression.probabilities(np.concatenate([known, said], axis=1)))


def opinions_on(found: Detections, view: NormalizedImage, network: Network, factor: float) -> Job[np.ndarray]:
    """Measure how a U-Net that finds objects scores each of N detections: float64 (N, 2), see `FEATURES`."""
    said = np.tile([0.0, log_odds(0.0)], (len(found.labels), 1))
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
            looking = _seen_there(there, view.crop(read), network, grid)
            near = yield from subtask(looking, done, 1, len(parts))
            said[is_own] = near[is_own[is_near]]
    return said


def _lie_in(places: np.ndarray, part: slice, length: int) -> np.ndarray:
    places = places.clip(0, length - 1)
    return (places >= part.start) & (places < part.stop)


def _seen_there(found: Detections, view: NormalizedImage, network: Network, grid: Grid) -> Job[np.ndarray]:
    """Find the U-Net's objects, all of them, and compare the detections with them."""
    scores = yield from subtask(predict(network, grid, view.read), 0, 16, 20)
    said = pixel_scores(scores)
    labels = yield from subtask(find_objects(said, decoding_of(network.header)), 16, 2, 20)
    scoring = scoring_of(network.header, usual_size(network.header["diameter_px"], 2), said, grid)
    if scoring is None:
        raise ValueError("the second network does not judge objects")
    features = yield from subtask(measured(labels, said, scoring.usual_px, scoring.factor), 18, 1, 20)
    likely = scoring.regression.probabilities(features)
    on_grid = found.moved(*(-begin for begin in grid.origin)).scaled(*(1 / each for each in grid.scale))
    comparing = partial(compared, on_grid, labels, likely)
    return (yield from subtask(in_background(comparing, "Comparing"), 19, 1, 20))


def compared(found: Detections, labels: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Compare N detections with the objects that share most with them: float64 (N, 2), see `FEATURES`.

    The detections are in pixels of `labels`, which are 0 background, 1…K; `likely` (K,) is the probability that each of
    these objects is real.
    """
    sizes = np.bincount(labels.reshape(-1), minlength=len(likely) + 1)
    odds = log_odds(np.append(0.0, likely))
    said = [
        _compared(boxes.double().numpy(), (masks > MASK_LEVEL).numpy(), labels, sizes)
        for boxes, masks in zip(found.boxes.split(AT_ONCE), found.masks.split(AT_ONCE), strict=True)
    ]
    overlaps, numbers = (np.concatenate(each) for each in zip(*said, strict=True))
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
