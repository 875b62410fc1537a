"""Which pixels belong to objects at all, before they are told apart."""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import Piece, in_threads, pieces
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.labels import connected_components
from napari_tessera.methods.histogram import Histogram, measure
from napari_tessera.methods.threshold_rules import RULES


def bright_pixels(
    values: np.ndarray, rule: str, level: float | None, radius: float, spacing: tuple[float, ...] | None
) -> Job[np.ndarray]:
    """Mask what is brighter than one level, or with "local" than the level of its surroundings.

    Parameters
    ----------
    values : array of float32
    rule : str
        "local", or a rule that finds a level for the whole image; "local" starts from Otsu's.
    level : float or None
        Level for the whole image, instead of the rule's.
    radius, spacing
        Of the surroundings; see `above_local_level`.
    """
    from napari_tessera.methods.local_brightness import above_local_level

    histogram = (yield from part_of(measure(values), 0, 1, 3)).histogram
    if histogram is None:
        level = float(values.flat[0]) if level is None else level
        return (yield from _above(values, level))
    if level is None:
        level = RULES["otsu" if rule == "local" else rule](histogram)
    if rule != "local":
        return (yield from part_of(_above(values, level), 1, 2, 3))
    background = median_below(histogram, level)
    level = within(level, np.float32)
    return (yield from part_of(above_local_level(values, level, background, radius, spacing), 1, 2, 3))


def median_below(histogram: Histogram, level: float) -> float:
    """Return the median of the values up to `level`; without any, the level itself."""
    counts = np.cumsum(histogram.counts[: histogram.step_of(level) + 1])
    return histogram.value_at(int(np.searchsorted(counts, counts[-1] / 2))) if len(counts) else level


def within(level: float, dtype: np.typing.DTypeLike) -> float:
    """Return a level as a finite number of a floating-point type: no image is brighter than its largest."""
    return float(np.clip(level, np.finfo(dtype).min, np.finfo(dtype).max))


def _above(values: np.ndarray, level: float) -> Job[np.ndarray]:
    mask = np.empty(values.shape, bool)
    level = within(level, values.dtype) if values.dtype.kind == "f" else level

    def compare(piece: Piece) -> None:
        np.greater(values[piece], level, out=mask[piece])

    yield from in_threads(compare, pieces(values.shape), "Finding foreground")
    return mask


def fill_holes(mask: np.ndarray, largest: int, connectivity: int) -> Job[None]:
    """Fill, in place, the holes of at most `largest` pixels; what touches the image's edge is no hole.

    `connectivity` is that of the objects; their holes connect across what they do not.
    """
    yield Progress(0, 3, "Filling holes")
    across = mask.ndim if connectivity == 1 else 1
    holes = connected_components(~mask, across)
    cut = pieces(mask.shape)
    sizes = np.zeros(int(holes.max(initial=0)) + 1, np.int64)
    for done, piece in enumerate(cut):
        yield Progress(1 + done / len(cut), 3, "Filling holes")
        sizes += np.bincount(holes[piece].reshape(-1), minlength=len(sizes))
    is_filled = sizes <= largest
    for axis in range(mask.ndim):
        is_filled[np.take(holes, (0, -1), axis)] = False
    is_filled[0] = True  # what is in the mask stays there

    def fill(piece: Piece) -> None:
        mask[piece] = is_filled[holes[piece]]

    yield from part_of(in_threads(fill, cut, "Filling holes"), 2, 1, 3)
