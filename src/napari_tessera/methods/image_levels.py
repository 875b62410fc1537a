"""Brightness of an image that is too large to hold, as a network needs it: percentiles from the sums of its blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_tessera.catalogue import ModelEntry
from napari_tessera.jobs import Job
from napari_tessera.methods.histogram import Histogram, Measure, measure_block, rounds_for
from napari_tessera.methods.network_input import channels_for
from napari_tessera.methods.threshold_passes import THRESHOLD
from napari_tessera.nn.intensity import (
    HIGH_PERCENT,
    LOW_PERCENT,
    PERCENTS,
    kind_of,
    levels_between,
    levels_of_channels,
)
from napari_tessera.nn.wide import EXACT, offset_by

Measures = tuple[Measure, ...]
"""One for all channels together, or one for each channel, as the model's kind of image wants it."""


def percentiles(measure: Measure, percents: tuple[float, ...]) -> list[float]:
    """Return what `np.percentile` would, of all the values that were counted; exact for 8- and 16-bit integers.

    Parameters
    ----------
    measure : Measure
    percents : tuple of float
        0 to 100.
    """
    if measure.tails:
        inner = percentiles(replace(measure, tails={}), percents)
        ends = float(measure.grid.low), float(measure.grid.high)
        outer = [measure.tails.get(percent, value) for percent, value in zip(percents, inner, strict=True)]
        return [a if ends[0] <= b <= ends[1] else b for a, b in zip(inner, outer, strict=True)]
    grid = measure.grid
    if grid.is_integer and grid.low and max(abs(grid.low), abs(grid.high)) >= EXACT:
        above = Measure(replace(grid, low=0, high=grid.high - grid.low), measure.counts)
        return [offset_by(int(grid.low), value) for value in percentiles(above, percents)]
    if measure.histogram is None:
        return [float(measure.value_grid.low)] * len(percents)
    return [_percentile(measure.histogram, percent) for percent in percents]


def _percentile(histogram: Histogram, percent: float) -> float:
    """Interpolate between the two values around a rank."""
    upto = np.cumsum(histogram.counts)
    rank = percent / 100 * (int(upto[-1]) - 1)
    below = int(rank)
    steps = np.searchsorted(upto, [below, min(below + 1, int(upto[-1]) - 1)], side="right")
    low, high = (histogram.value_at(step) for step in steps.tolist())
    return low + (rank - below) * (high - low)


def counted(values: np.ndarray, earlier: Measure | None) -> Measure:
    """Measure a block: first the range, then the values, then once more the values between the outer percentiles.

    The last round is there for a few pixels that lie far out: without it, they would leave all others on a few steps of
    the grid. What lies beyond the outer percentiles is known from the round before. For 8- and 16-bit integers, one
    round is exact.
    """
    if earlier is None or earlier.counts is None:
        return measure_block(values, earlier)
    tails = dict(zip(PERCENTS, percentiles(earlier, PERCENTS), strict=True))
    low, high = tails[LOW_PERCENT], tails[HIGH_PERCENT]
    old = earlier.grid
    step = int(old.step) if old.is_integer else old.step
    ends = max(old.low, low - step), min(old.high, high + step)
    low, high = (int(end) for end in ends) if old.is_integer else ends
    found = measure_block(np.clip(values, low, high), Measure(replace(old, low=low, high=high), None))
    return replace(found, tails=tails)


def rounds(prepared: np.ndarray, **_: Any) -> int:
    """How often `counted` must look at all blocks."""
    needed = rounds_for(prepared.dtype)
    return needed if needed == 1 else needed + 1


def _prepare(
    image: np.ndarray, *, entry: ModelEntry, channel_axis: int | None, channel: int, **_: Any
) -> Job[np.ndarray]:
    """Choose the channels that the model is shown."""
    yield from ()
    return np.ascontiguousarray(channels_for(entry, image, channel_axis, channel, "unet")[0])


def _summarise(
    prepared: np.ndarray, start: tuple[int, ...], earlier: Measures | None, *, entry: ModelEntry, **_: Any
) -> Measures:
    parts = np.moveaxis(prepared, -1, 0) if kind_of(entry.header) == "channels" else [prepared]
    before = earlier or (None,) * len(parts)
    return tuple(counted(np.ascontiguousarray(part), old) for part, old in zip(parts, before, strict=True))


def _merge(one: Measures, other: Measures) -> Measures:
    return tuple(first + second for first, second in zip(one, other, strict=True))


def _fit(measures: Measures, *, entry: ModelEntry, **_: Any) -> Job[dict[str, Any]]:
    yield from ()
    found = [percentiles(each, PERCENTS) for each in measures]
    is_together = kind_of(entry.header) == "colours"
    return {"levels": levels_between(found[0]) if is_together else levels_of_channels(found)}


LEVELS = replace(
    THRESHOLD,
    reach=lambda **_: 0,
    prepare=_prepare,
    rounds=rounds,
    summarise=_summarise,
    merge=_merge,
    fit=_fit,
)
"""The measuring half of a method in two passes, with a setting `entry`, the model: it finds the `levels`."""
