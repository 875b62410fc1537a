"""Brightness of an image that is too large to hold, as a network needs it: percentiles from the sums of its blocks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from napari_tessera.catalogue import ModelEntry
from napari_tessera.jobs import Job
from napari_tessera.methods.histogram import COUNTED_STEPS, Measure, measure_block, rounds_for
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
from napari_tessera.nn.wide import offset_by
from napari_tessera.two_pass import never
from napari_tessera.value_range import Number

Measures = tuple[Measure, ...]
"""One for all channels together, or one for each channel, as the model's kind of image wants it."""


def percentiles(measure: Measure, percents: tuple[float, ...]) -> list[float]:
    """Return what `np.percentile` would, of all the values that were counted; exact where each step is one value.

    Parameters
    ----------
    measure : Measure
    percents : tuple of float
        0 to 100.
    """
    inner = [_percentile(measure, percent) for percent in percents]
    outer = [measure.tails.get(percent, value) for percent, value in zip(percents, inner, strict=True)]
    return [a if measure.low <= b <= measure.high else b for a, b in zip(inner, outer, strict=True)]


def _percentile(measure: Measure, percent: float) -> float:
    """Interpolate between the two values around a rank."""
    counts, values = measure.occupied
    upto = np.cumsum(counts)
    rank = percent / 100 * (int(upto[-1]) - 1)
    below = int(rank)
    at = np.searchsorted(upto, [below, min(below + 1, int(upto[-1]) - 1)], side="right")
    low, high = values[at].tolist()
    if isinstance(low, int):
        return offset_by(low, (rank - below) * (high - low))
    return low * (1 - (rank - below)) + high * (rank - below)  # a difference might overflow


def counted(values: np.ndarray, earlier: Measure | None) -> Measure:
    """Measure a block: first the range, then the values, then once more the values between the outer percentiles.

    The last round is there for a few pixels that lie far out: without it, they would leave all others on a few steps of
    the range. What lies beyond the outer percentiles is known from the round before. For 8- and 16-bit integers, one
    round is exact.
    """
    if earlier is None or earlier.counts is None:
        return measure_block(values, earlier)
    tails = dict(zip(PERCENTS, percentiles(earlier, PERCENTS), strict=True))
    low, high = _widened(tails[LOW_PERCENT], tails[HIGH_PERCENT], earlier, values.dtype)
    return replace(measure_block(np.clip(values, low, high), Measure(low, high)), tails=tails)


def _widened(low: float, high: float, earlier: Measure, dtype: np.dtype) -> tuple[Number, Number]:
    """Move both ends one step outwards, within the range that was counted, to values of the dtype."""
    step = (earlier.high / 2 - earlier.low / 2) / (COUNTED_STEPS / 2)
    if dtype.kind == "f":
        ends = max(earlier.low, low - step), min(earlier.high, high + step)
        return dtype.type(ends[0]).item(), dtype.type(ends[1]).item()
    margin = math.ceil(step)
    return max(int(earlier.low), math.floor(low) - margin), min(int(earlier.high), math.ceil(high) + margin)


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
    needs_scale=never,
)
"""The measuring half of a method in two passes, with a setting `entry`, the model: it finds the `levels`."""
