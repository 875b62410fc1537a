"""Block plan for networks: channels, global percentiles from sums of blocks, margins and tile grid of each block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.core.blockwise import BlockPlan, Settings, Stored, never
from napari_tessera.core.jobs import Job
from napari_tessera.core.rescale import COUNTED_STEPS, Number
from napari_tessera.core.result import AutoValues
from napari_tessera.core.tiles import Tile, widened
from napari_tessera.methods._network_checks import channels_for, check_fit
from napari_tessera.methods.threshold import THRESHOLD

if TYPE_CHECKING:
    from napari_tessera.algorithms.histogram import Measure
    from napari_tessera.inference.normalization import Levels, Values
    from napari_tessera.inference.pixel_grid import Grid, NormalizedImage
    from napari_tessera.models.registry import ModelEntry

    Measures = tuple[Measure, ...]
    """One for all channels together, or one for each channel, as the model's kind of image wants it."""


LARGEST_PART_PX = {2: 6e6, 3: 16e6}
"""Pixels of the network, in planes or volumes, that a block is predicted and decoded in at a time."""
PLANES_BEYOND = 3
"""How many planes beyond its block are linked, where a volume is segmented plane by plane."""


@dataclass(frozen=True)
class BlockMargins:
    """How far around the blocks of an image a network must look.

    `grid` is the network's pixels over the whole image, `beyond_px` how far it must look beyond a block, in its own
    pixels, and `step` how many of them its coarsest level pools into one.
    """

    grid: Grid
    beyond_px: float
    step: int
    is_plane_by_plane: bool = False

    @property
    def axes(self) -> range:
        """Axes of the planes or volumes that the network takes."""
        return range(self.is_plane_by_plane, len(self.grid.shape))

    @property
    def margins(self) -> tuple[int, ...]:
        """How far to look around a block, in pixels of the image along each axis."""
        margins = tuple(ceil(self.beyond_px * scale) for scale in self.grid.scale)
        return (PLANES_BEYOND, *margins[1:]) if self.is_plane_by_plane else margins

    def parts(self, block: Sequence[int]) -> tuple[int, ...]:
        """Halve a block along its longest side until a part is small enough, or hardly larger than its margins."""
        parts = [1] * len(block)

        def network_px(axis: int) -> float:
            return (block[axis] / parts[axis] + 2 * self.margins[axis]) / self.grid.scale[axis]

        while prod(map(network_px, self.axes)) > LARGEST_PART_PX[len(self.axes)]:
            longest = max(self.axes, key=lambda axis: block[axis] / parts[axis] / self.grid.scale[axis])
            if block[longest] <= 2 * parts[longest] * self.margins[longest]:
                break
            parts[longest] *= 2
        return tuple(parts)

    def aligned(self, tile: Tile) -> Tile:
        """Widen what a tile reads, so that the network's pixels can be those of the whole image."""
        window = widened(tile.write, self.margins, self.grid.shape)
        read, _ = self.grid.crop(window, self._steps)
        return replace(tile, read=read)

    def over(self, tile: Tile) -> Grid:
        """Return the network's pixels over what a tile reads."""
        _, grid = self.grid.crop(widened(tile.write, self.margins, self.grid.shape), self._steps)
        return grid

    @property
    def _steps(self) -> tuple[int, ...]:
        return (1,) * self.axes.start + (self.step,) * len(self.axes)


def percentiles(measure: Measure, percents: Sequence[float]) -> list[float]:
    """Return what `np.percentile` would, of all the values that were counted; exact where each step is one value."""
    inner = [_percentile(measure, percent) for percent in percents]
    outer = [measure.tails.get(percent, value) for percent, value in zip(percents, inner, strict=True)]
    return [a if measure.low <= b <= measure.high else b for a, b in zip(inner, outer, strict=True)]


def _percentile(measure: Measure, percent: float) -> float:
    """Interpolate between the two values around a rank."""
    from napari_tessera.inference.normalization import offset_by

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
    from napari_tessera.algorithms.histogram import Measure, measure_block
    from napari_tessera.inference.normalization import HIGH_PERCENT, LOW_PERCENT, PERCENTS

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
    from napari_tessera.algorithms.histogram import rounds_for

    needed = rounds_for(prepared.dtype)
    return needed if needed == 1 else needed + 1


def _prepare(
    image: np.ndarray, *, entry: ModelEntry, channel_axis: int | None, channel: int | None, **_: Any
) -> Job[np.ndarray]:
    """Choose the channels that the model takes."""
    yield from ()
    return np.ascontiguousarray(channels_for(entry, image, channel_axis, channel, "unet")[0])


def _summarise(
    prepared: np.ndarray,
    start: tuple[int, ...],
    earlier: Measures | None,
    *,
    entry: ModelEntry,
    valid: np.ndarray | None = None,
    **_: Any,
) -> Measures:
    from napari_tessera.inference.normalization import kind_of

    prepared = prepared if valid is None else prepared[valid]
    parts = np.moveaxis(prepared, -1, 0) if kind_of(entry.header) == "channels" else [prepared]
    before = earlier or (None,) * len(parts)
    return tuple(counted(np.ascontiguousarray(part), old) for part, old in zip(parts, before, strict=True))


def _merge(one: Measures, other: Measures) -> Measures:
    return tuple(first + second for first, second in zip(one, other, strict=True))


def _fit(measures: Measures, *, entry: ModelEntry, **_: Any) -> Job[dict[str, Any]]:
    from napari_tessera.inference.normalization import kind_of, levels_between, levels_of_channels

    yield from ()
    is_together = kind_of(entry.header) == "colours"
    return {
        "levels": levels_between(values_of(measures[0]))
        if is_together
        else levels_of_channels(map(values_of, measures))
    }


def values_of(measure: Measure) -> Values:
    """Return the values of an image that was measured in blocks."""
    from napari_tessera.inference.normalization import Values

    return Values(partial(percentiles, measure), measure)


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


@dataclass(frozen=True)
class ChannelView:
    """The channels of a stored image that a model uses, read window by window."""

    image: Stored
    entry: ModelEntry
    channel_axis: int | None
    channel: int | None
    method: str

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, with the channels that are shown last, if there are any."""
        space = self.image.shape if self.channel_axis is None else self.image.shape[:-1]
        tiny = self[(slice(1),) * len(space)]
        return (*space, *tiny.shape[len(space) :])

    def __getitem__(self, window: tuple[slice, ...]) -> np.ndarray:
        """Read a window."""
        return channels_for(self.entry, self.image[window], self.channel_axis, self.channel, self.method)[0]

    def valid(self, window: tuple[slice, ...]) -> np.ndarray | None:
        """Return where a window is image; None if all of it is."""
        return self.image.valid(window)


def view_of(entry: ModelEntry, image: Stored, levels: Levels, settings: Settings, method: str) -> NormalizedImage:
    """Check that a stored image suits a model, and normalise it with the levels of the whole."""
    from napari_tessera.inference.normalization import with_polarity
    from napari_tessera.inference.pixel_grid import NormalizedImage

    n_space = len(image.shape) - (settings["channel_axis"] is not None)
    check_fit(entry, image.shape[:n_space], settings["diameter"], method)
    channels = ChannelView(image, entry, settings["channel_axis"], settings["channel"], method)
    spacing = settings["spacing"] or (1.0,) * n_space
    return NormalizedImage(
        channels, with_polarity(levels, settings["polarity"], entry.header), len(channels.shape) > n_space, spacing
    )


def margins_over(
    view: NormalizedImage, factor: float, beyond_px: float, step: int, is_plane_by_plane: bool
) -> BlockMargins:
    """Return how far around its blocks a network must look, on the grid of the whole image."""
    from napari_tessera.inference.pixel_grid import Grid

    grid = view.grid_at(factor)
    if is_plane_by_plane:
        grid = Grid.over(grid.shape, (grid.shape[0], *grid.size[1:]))
    return BlockMargins(grid, beyond_px, step, is_plane_by_plane)


def _grid_over(margins: BlockMargins, tile: Any) -> dict[str, Grid]:
    return {"grid": margins.over(tile)}


def plan_of(
    label: Callable[..., Any], margins: BlockMargins, smallest_px: int, notes: tuple[str, ...], chosen: AutoValues
) -> BlockPlan:
    """Plan blocks with the margins that a network needs."""
    return BlockPlan(
        label=label,
        reach=margins.margins,
        parts=margins.parts,
        aligned=margins.aligned,
        told=partial(_grid_over, margins),
        is_threaded=True,
        smallest_px=smallest_px,
        notes=notes,
        chosen=chosen,
    )
