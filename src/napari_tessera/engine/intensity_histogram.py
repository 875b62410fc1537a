"""The histogram of what a method thresholds, with the levels that its rule finds; of a large image, from a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.core.errors import TesseraError
from napari_tessera.core.jobs import Job, Progress, in_background, subtask
from napari_tessera.core.region import Region, resolve
from napari_tessera.core.rescale import EXACT, UNSCALED, Scale, unscaled_number
from napari_tessera.core.spatial import CHANNEL, Layout
from napari_tessera.core.valid_area import Fill, find_fill
from napari_tessera.engine.bind import is_stored
from napari_tessera.methods.registry import method_named

if TYPE_CHECKING:
    from napari_tessera.algorithms.histogram import Measure

# Heavy modules are imported in functions, so that a form with a histogram opens without waiting for SciPy.

LARGEST_WHOLE_PX = 2**24
"""Larger images are sampled: counting more would take longer than a user waits for a form."""
WINDOW_PX = {2: (128, 128), 3: (8, 64, 64)}
WINDOWS_ALONG = {2: 8, 3: 4}
CHUNKS = 16
"""Of an image on disk, so many chunks are read."""
WINDOW_IN_CHUNK_PX = {2: (512, 512), 3: (16, 128, 128)}
RARE_SHARE = 0.005
"""Padding has a value that is rarer than this in most parts of the image."""
OFTEN_SHOWN = 0.0005
"""Share of the pixels at either end of the histogram that may lie outside the part that is shown."""
WIDEST_WITHOUT_CUT = 2.5
DIGITS, LEVEL_DIGITS = 4, 6
"""Digits of the range of the intensities: for a place in a plot, and for a level that shall select the same pixels."""
Window = tuple[slice, ...]
Index = tuple[slice | int, ...]


@dataclass(frozen=True)
class HistogramRequest:
    """A request for a histogram.

    Attributes
    ----------
    method : str
        A method with two passes, such as "threshold".
    image : array
        The whole image, maybe on disk.
    axes : str
    frame : dict of str to int
        Index along each axis that is processed one index at a time.
    parameters : dict
        All settings of the method.
    spacing : tuple of float or None
    region : Region or None
    """

    method: str
    image: Any
    axes: str
    frame: Mapping[str, int]
    parameters: Mapping[str, Any]
    spacing: tuple[float, ...] | None = None
    region: Region | None = None


@dataclass
class HistogramCache:
    """The last counts; they stay while only the rule changes."""

    image: Any = None
    wanted: Any = None
    counted: Counted | None = None


@dataclass(frozen=True)
class Counted:
    """The counted values of an image or of a sample, in the unit of `scale`."""

    measure: Measure
    scale: Scale
    is_whole_numbers: bool
    sampled_px: int
    image_px: int


@dataclass(frozen=True)
class IntensityHistogram:
    """Number of pixels in equal steps of intensity, and the levels of the rule.

    Attributes
    ----------
    counts : (B,) array
    low, step : float
        Centre of the first step, and the width of a step.
    is_exact : bool
        Whether each step holds one value only.
    is_whole_numbers : bool
        Whether the values are integers.
    levels : tuple of float
        Pixels above a level belong to the next class; empty if the rule has no level for the whole image.
    problem : str
        Why the rule found no level.
    sampled_px, image_px : int
        Number of pixels counted, and of the image.
    """

    counts: np.ndarray
    low: float
    step: float
    is_exact: bool
    is_whole_numbers: bool
    levels: tuple[float, ...]
    problem: str
    sampled_px: int
    image_px: int

    @property
    def high(self) -> float:
        """Centre of the last step."""
        return self.low + (len(self.counts) - 1) * self.step

    @property
    def is_sample(self) -> bool:
        """Whether only a part of the pixels was counted."""
        return self.sampled_px < self.image_px

    def cut_of(self, level: float) -> float:
        """Return the place between the values up to a level and those above it."""
        return level + (self.step / 2 if self.is_exact else 0)

    def low_at(self, cut: float, digits: int = DIGITS) -> float:
        """Return the lowest intensity above a cut, as a setting; `digits` are those of the whole range."""
        return math.ceil(cut) if self.is_whole_numbers else self._rounded(cut, digits)

    def high_at(self, cut: float, digits: int = DIGITS) -> float:
        """Return the highest intensity below a cut, as a setting; `digits` are those of the whole range."""
        return math.floor(cut) if self.is_whole_numbers else self._rounded(cut, digits)

    def cut_below(self, low: float) -> float:
        """Return the cut of a lowest intensity."""
        return low - 0.5 if self.is_whole_numbers else low

    def cut_above(self, high: float) -> float:
        """Return the cut of a highest intensity."""
        return high + 0.5 if self.is_whole_numbers else high

    def in_words(self, intensity: float) -> str:
        """Write an intensity: whole numbers in full, others with the digits that tell two pixels of a plot apart."""
        return f"{intensity:.15g}" if self.is_whole_numbers else f"{intensity:.4g}"

    def span(self) -> tuple[float, float]:
        """Return the ends of the part to show: all, or without rare values that lie far away."""
        low, high = self.low - self.step / 2, self.high + self.step / 2
        shares = np.cumsum(self.counts) / self.counts.sum()
        first, last = (int(np.searchsorted(shares, share)) for share in (OFTEN_SHOWN, 1 - OFTEN_SHOWN))
        places = [self.low + first * self.step, self.low + last * self.step, *self.levels]
        margin = 0.1 * (max(places) - min(places)) + self.step
        usual = max(low, min(places) - margin), min(high, max(places) + margin)
        return usual if high - low > WIDEST_WITHOUT_CUT * (usual[1] - usual[0]) else (low, high)

    def bars(self, low: float, high: float, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Sum the steps to at most `most` bars between two intensities; rare values beyond go to the outer bars.

        Returns
        -------
        edges : (N + 1,) array
        counts : (N,) array
        """
        first, last = (round((end - self.low) / self.step + shift) for end, shift in ((low, 0.5), (high, -0.5)))
        steps_of_bar = max(1, math.ceil((last - first + 1) / most))
        n_bars = max(1, math.ceil((last - first + 1) / steps_of_bar))
        bar_of_step = np.clip((np.arange(len(self.counts)) - first) // steps_of_bar, 0, n_bars - 1)
        edges = self.low + (first - 0.5 + steps_of_bar * np.arange(n_bars + 1)) * self.step
        return edges, np.bincount(bar_of_step, self.counts, n_bars)

    def _rounded(self, cut: float, digits: int) -> float:
        span = self.high - self.low
        return round(cut, digits - 1 - math.floor(math.log10(span))) if span > 0 else cut


def intensity_histogram(request: HistogramRequest, cache: HistogramCache) -> Job[IntensityHistogram | None]:
    """Count the values that a method compares with its level: after combining channels and smoothing.

    Parameters
    ----------
    request : HistogramRequest
    cache : HistogramCache
        Kept between calls; counted again when the image, its part, the channel or the smoothing changes.

    Returns
    -------
    IntensityHistogram or None
        None if nothing is image, all pixels have the same value, or float64 cannot tell the whole numbers apart.

    Raises
    ------
    ParameterError, InputError
        As in the method itself.
    """
    rule = {name: value for name, value in request.parameters.items() if name not in ("channel", "sigma")}
    prepared_like = {name: value for name, value in request.parameters.items() if name not in rule}
    wanted = (request.axes, dict(request.frame), prepared_like, request.spacing, request.region)
    if cache.image is not request.image or cache.wanted != wanted:
        counted = yield from _counted(request)
        cache.image, cache.wanted, cache.counted = request.image, wanted, counted
    return None if cache.counted is None else (yield from _with_levels(cache.counted, request))


def _counted(request: HistogramRequest) -> Job[Counted | None]:
    """Count the values of the image or of a sample; None if nothing in it is image."""
    from napari_tessera.algorithms.histogram import measure
    from napari_tessera.core.blockwise import scale_whole

    two_pass = method_named(request.method).two_pass
    assert two_pass is not None
    whole, windows, image_px = _windows(request)
    read: list[np.ndarray] = []
    for done, window in enumerate(windows):
        yield Progress(done, len(windows) + 2, "Reading a sample")
        values = np.asarray(request.image[window])
        if values.dtype.kind != "f" or np.isfinite(values).any():
            read.append(values)
    fill = (yield from _fill(request, whole, read)) if len(windows) > 1 else None
    parts: list[_Part] = []
    for values in read:
        part = yield from _part(request, values, fill)
        parts += [] if part is None else [part]
    if not parts:
        return None
    values = parts[0].image if len(parts) == 1 else np.concatenate([part.image.reshape(-1) for part in parts])
    scale = yield from scale_whole(two_pass, values, **parts[0].settings)
    prepared = []
    for part in parts:
        found = yield from two_pass.prepare(part.image, **{**part.settings, "scale": scale})
        prepared.append(found.reshape(-1) if part.valid is None else found[part.valid])
    values = prepared[0] if len(prepared) == 1 else np.concatenate(prepared)
    if not len(values):
        return None
    measured = yield from subtask(measure(values), len(windows), 2, len(windows) + 2)
    is_whole = values.dtype.kind in "iu" and scale == UNSCALED
    return Counted(measured, scale, is_whole, sum(part.n_px for part in parts), image_px)


def _with_levels(counted: Counted, request: HistogramRequest) -> Job[IntensityHistogram | None]:
    two_pass = method_named(request.method).two_pass
    assert two_pass is not None
    histogram = counted.measure.histogram
    largest = max(abs(counted.measure.low), abs(counted.measure.high))
    if histogram is None or (counted.is_whole_numbers and largest > EXACT):
        return None
    scale, problem = counted.scale, ""
    levels: tuple[float, ...] = ()
    try:
        fitted = yield from two_pass.fit(counted.measure, **{**request.parameters, "scale": scale})
        levels = tuple(float(unscaled_number(level, scale)) for level in fitted.get("levels", ()) if level is not None)
    except TesseraError as error:
        problem = str(error)
    unit = 1.0 if scale == UNSCALED else float(scale.unit)
    return IntensityHistogram(
        histogram.counts,
        float(unscaled_number(histogram.origin, scale)),
        histogram.step * unit,
        histogram.is_exact,
        counted.is_whole_numbers,
        levels,
        problem,
        counted.sampled_px,
        counted.image_px,
    )


@dataclass(frozen=True)
class _Part:
    """A part of one frame, as the method gets it."""

    image: np.ndarray
    settings: dict[str, Any]

    @property
    def valid(self) -> np.ndarray | None:
        """Where it is image; None if all of it is."""
        return self.settings.get("valid")

    @property
    def n_px(self) -> int:
        """Pixels, without channels."""
        channel_axis = self.settings["channel_axis"]
        return self.image.size // (1 if channel_axis is None else self.image.shape[channel_axis])


def _part(request: HistogramRequest, part: np.ndarray, fill: Fill | None) -> Job[_Part | None]:
    """Check and fill a part of one frame as the method does; None if nothing in it is image."""
    from napari_tessera.engine import api
    from napari_tessera.engine.run import prepared_arguments

    axes = _frame_axes(request)
    bound = api.bind(request.method, part, axes=axes, measure=False, **request.parameters)
    settings, valid, _ = yield from prepared_arguments(replace(bound, fill=fill))
    if valid is not None and not valid.any():
        return None
    if request.spacing is not None:
        settings["spacing"] = request.spacing[-sum(axis in "ZYX" for axis in axes) :]
    return _Part(settings.pop(bound.main_name), settings)


def _fill(request: HistogramRequest, whole: Index, read: Sequence[np.ndarray]) -> Job[Fill]:
    """Find what of a frame is no image; of an image on disk, which is not read as a whole, by the parts that are."""
    fill = None
    if is_stored(request.image):
        fill = Fill(colours=_colours_of_padding(read)) if CHANNEL not in request.axes else None
    else:
        axes = _frame_axes(request)
        channel_axis = axes.index(CHANNEL) if CHANNEL in axes else None
        is_colour = request.axes.endswith(CHANNEL)
        frame = request.image[whole]
        find = partial(find_fill, frame, channel_axis, may_be_transparent=is_colour)
        fill = yield from in_background(find, "Looking for padding")
    return replace(fill or Fill(), has_nan=None)  # the windows may have NaN


def _colours_of_padding(parts: Sequence[np.ndarray]) -> tuple[tuple[float], ...]:
    """Return the values of parts that have no other, if these hardly occur in most of the other parts: padding."""
    is_constant = [bool((part == part.flat[0]).all()) for part in parts]
    others = [part for part, constant in zip(parts, is_constant, strict=True) if not constant]
    if not others:
        return ()
    values = {part.flat[0].item() for part, constant in zip(parts, is_constant, strict=True) if constant}
    rare = [value for value in values if np.median([(part == value).mean() for part in others]) <= RARE_SHARE]
    return tuple((value,) for value in sorted(rare))


def _frame_axes(request: HistogramRequest) -> str:
    return "".join(axis for axis in request.axes if axis not in _dropped(request))


def _dropped(request: HistogramRequest) -> set[str]:
    return {*request.frame, *(request.region.planes if request.region is not None else ())}


def _windows(request: HistogramRequest) -> tuple[Index, list[Index], int]:
    """Return the index of the frame, that of each part to read, and the number of the frame's pixels."""
    region = request.region or Region()
    planes = {**request.frame, **region.planes}
    crop = resolve(Region(planes, region.polygons), Layout(request.axes), request.image.shape)
    index = dict(zip(request.axes, crop.index, strict=True))
    cut = {axis: part for axis, part in index.items() if isinstance(part, slice) and axis != CHANNEL}
    spatial, whole = list(cut), tuple(cut.values())
    image_px = math.prod(_side(part) for part in whole)
    chunks = _chunk_sides(request.image, [request.axes.index(axis) for axis in spatial])
    parts = [whole] if image_px <= LARGEST_WHOLE_PX else _spread(whole) if chunks is None else _chunks(whole, chunks)
    indices = [{**index, **dict(zip(spatial, part, strict=True))} for part in parts]
    return crop.index, [tuple(each[axis] for axis in request.axes) for each in indices], image_px


def _side(part: slice) -> int:
    return int(part.stop - part.start)


def _chunk_sides(image: Any, axes: Sequence[int]) -> list[int] | None:
    """Return the sides of the chunks of an array on disk; None for one in memory."""
    if not is_stored(image):
        return None
    sides = [image.chunks[axis] for axis in axes]
    return [max(side) if isinstance(side, tuple) else side for side in sides]


def _spread(whole: Window) -> list[Window]:
    """Return small windows on a regular grid."""
    starts = []
    for part, wide in zip(whole, WINDOW_PX[len(whole)], strict=True):
        last = max(part.stop - wide, part.start)
        starts.append(np.unique(np.linspace(part.start, last, WINDOWS_ALONG[len(whole)]).astype(int)))
    return [_window(whole, at, WINDOW_PX[len(whole)]) for at in product(*starts)]


def _chunks(whole: Window, sides: Sequence[int]) -> list[Window]:
    """Return a window in each of some chunks that are spread over the image, so that none is read twice."""
    starts = [range(part.start // side * side, part.stop, side) for part, side in zip(whole, sides, strict=True)]
    cells = list(product(*starts))
    chosen = np.unique(np.linspace(0, len(cells) - 1, CHUNKS).astype(int))
    wide = [min(side, most) for side, most in zip(sides, WINDOW_IN_CHUNK_PX[len(whole)], strict=True)]
    return [_window(whole, cells[number], wide) for number in chosen]


def _window(whole: Window, at: Sequence[int], wide: Sequence[int]) -> Window:
    parts = zip(whole, at, wide, strict=True)
    return tuple(slice(max(start, part.start), min(start + side, part.stop)) for part, start, side in parts)
