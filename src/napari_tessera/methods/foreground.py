"""Which pixels belong to objects at all, before they are told apart."""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import in_threads, pieces
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.labels import connected_components
from napari_tessera.methods.histogram import measure
from napari_tessera.methods.smoothing import smoothed
from napari_tessera.methods.threshold_rules import RULES


def brighter_than_level(values: np.ndarray, rule: str) -> Job[np.ndarray]:
    """Find the level that `rule` gives for the whole image; return a mask of the pixels above it."""
    level = yield from _level(values, rule)
    return (yield from _above(values, level))


def brighter_than_surroundings(values: np.ndarray, radius: float, spacing: tuple[float, ...] | None) -> Job[np.ndarray]:
    """Mask the pixels above Otsu's level and above the middle between it and the mean of their surroundings.

    Between crowded bright objects the background is bright too: there the level rises.
    """
    level = yield from part_of(_level(values, "otsu"), 0, 1, 3)
    surroundings = yield from part_of(smoothed(values, radius, spacing), 1, 1, 3)

    def raise_level(piece: tuple[slice, ...]) -> None:
        part = surroundings[piece]
        part += np.float32(level)
        part /= 2
        np.maximum(part, level, out=part)

    yield from part_of(in_threads(raise_level, pieces(values.shape), "Finding foreground"), 2, 0.5, 3)
    return (yield from part_of(_above(values, surroundings), 2.5, 0.5, 3))


def _level(values: np.ndarray, rule: str) -> Job[float]:
    histogram = (yield from measure(values)).histogram
    return float(values.flat[0]) if histogram is None else RULES[rule](histogram)


def _above(values: np.ndarray, level: np.ndarray | float) -> Job[np.ndarray]:
    mask = np.empty(values.shape, bool)

    def compare(piece: tuple[slice, ...]) -> None:
        np.greater(values[piece], level[piece] if isinstance(level, np.ndarray) else level, out=mask[piece])

    yield from in_threads(compare, pieces(values.shape), "Finding foreground")
    return mask


def fill_holes(mask: np.ndarray, largest: int, connectivity: int) -> Job[None]:
    """Fill, in place, the holes of at most `largest` pixels; what touches the image's edge is no hole.

    `connectivity` is that of the objects; their holes connect across what they do not.
    """
    yield Progress(0, 2, "Filling holes")
    across = mask.ndim if connectivity == 1 else 1
    holes = connected_components(~mask, across)
    count = int(holes.max(initial=0)) + 1
    yield Progress(1, 2, "Filling holes")

    def sizes_in(piece: tuple[slice, ...]) -> np.ndarray:
        return np.bincount(holes[piece].reshape(-1), minlength=count)

    sizes = yield from in_threads(sizes_in, pieces(mask.shape), "Filling holes")
    is_filled = np.sum(sizes, axis=0) <= largest
    for axis in range(mask.ndim):
        is_filled[np.take(holes, (0, -1), axis)] = False
    is_filled[0] = True  # what is in the mask stays there

    def fill(piece: tuple[slice, ...]) -> None:
        mask[piece] = is_filled[holes[piece]]

    yield from in_threads(fill, pieces(mask.shape), "Filling holes")
