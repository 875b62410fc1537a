"""How far a network agrees with itself: the objects of windows of an image, and of the same windows changed a little.

Objects that are there are found again with the same outlines. What a network only imagines changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.overlaps import find_overlaps
from napari_tessera.core.tiles import Slices
from napari_tessera.inference.normalization import Levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.scale_search import Scale
from napari_tessera.metrics.matching import match

Outline = Callable[[NormalizedImage, Scale[Any]], Job[np.ndarray]]
"""Segments a plane or volume at a scale with one network."""
CHANGES = ((1.15, (-1,), 1.0), (1 / 1.15, (-2,), 0.8), (1.0, (-2, -1), 1.25))
"""How the windows are changed: magnification, axes that are mirrored, and brightness of the brightest objects."""
Change = tuple[float, tuple[int, ...], float]
IOUS = (0.5, 0.7, 0.9)
UNKNOWN_OBJECTS = 1
"""Added to the objects that change: one object that stays the same does not prove much."""


def compare_changed(
    outline: Outline, view: NormalizedImage, scale: Scale[Any], places: Sequence[Slices], ndim: int
) -> Job[tuple[list[np.ndarray], float]]:
    """Return the labels of each place, and the agreement with those after the changes, of all places together."""
    found, counts = [], np.zeros((len(CHANGES), len(IOUS), 2))
    total = len(places) * (1 + len(CHANGES))
    for number, place in enumerate(places):
        window, done = window_of(view, place, ndim), number * (1 + len(CHANGES))
        at_scale = scale if window.shape == view.shape else replace(scale, known=None, second=None)
        found.append((yield from subtask(outline(window, at_scale), done, 1, total)))
        for each, change in enumerate(CHANGES):
            comparing = _counts(outline, window, scale.factor, change, found[-1])
            counts[each] += yield from subtask(comparing, done + 1 + each, 1, total)
    return found, float(np.mean(counts[..., 0] / (counts[..., 1] + UNKNOWN_OBJECTS)))


def _counts(
    outline: Outline, window: NormalizedImage, factor: float, change: Change, labels: np.ndarray
) -> Job[np.ndarray]:
    """Return how many objects are the same after a change, and how many there are in both: (IOUS, 2)."""
    times, mirrored, brightness = change
    axes = tuple(axis % window.ndim for axis in mirrored)
    image = np.ascontiguousarray(np.flip(np.asarray(window.image), axes))
    changed = replace(window, image=image, levels=_brighter(window.levels, brightness))
    other = yield from subtask(outline(changed, Scale(factor * times)), 0, 9, 10)
    overlaps = yield from subtask(find_overlaps(labels, np.ascontiguousarray(np.flip(other, axes))), 9, 1, 10)
    same = np.array([len(match(overlaps, iou)) for iou in IOUS])
    return np.stack([same, len(overlaps.truth) + len(overlaps.prediction) - same], axis=1)


def _brighter(levels: Levels, times: float) -> Levels:
    """Return the levels of an image whose bright objects are taken to be brighter than they are."""
    low, high = np.asarray(levels.low, np.float64), np.asarray(levels.high, np.float64)
    changed = low + (high - low) * times
    return replace(levels, high=tuple(changed.tolist()) if isinstance(levels.high, tuple) else float(changed))


def window_of(view: NormalizedImage, place: Slices, ndim: int) -> NormalizedImage:
    """Cut out a part, in memory; for a model for planes, one plane."""
    part = view.crop(place)
    return part.plane(0, 0) if ndim < part.ndim else part
