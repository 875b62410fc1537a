"""Normalise the brightness of an image's channels for a network, by percentiles.

The percentiles are those of the whole image, so that a tile has the same values as within the image.

There are two kinds. ``"colours"`` takes grey and RGB images alike and turns them into five channels. ``"channels"``
takes a fixed number of channels, such as two stains, each with its own percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from napari_tessera.algorithms.histogram import Measure, measure, rounds_for, without_bright
from napari_tessera.core.checks import canonical_dtype
from napari_tessera.core.jobs import run_job
from napari_tessera.core.rescale import EXACT, LEAST, above, is_wide

Kind = Literal["colours", "channels"]
Level = float | tuple[float, ...]
CHANNELS = 5
"""Channels that an image of the kind "colours" is turned into."""
LOW_PERCENT, HIGH_PERCENT = 0.5, 99.8
RARE = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Shares of an image, %, that sparse objects may fill; they lie beyond the percentiles that are black and white."""
BULK = (5, 16, 50, 84, 95)
PERCENTS = tuple(sorted({*RARE, LOW_PERCENT, *BULK, HIGH_PERCENT, *(100 - share for share in RARE)}))
"""Percentiles that are measured, in rising order."""
LARGEST_SHARE, SURELY_TIMES = 0.007, 4.5
"""What is left out of the levels fills at most this share of an image, or is so many times as bright as the objects: a
few nuclei may be three times as bright as the others."""
SMALLEST_SHARE = 0.0025
"""What fills less of an image hardly moves its white, unless it is so many times as bright."""
FEW_PERCENT, FAR_BELOW = 2, 3.5
"""Dark pixels up to this share of an image, %, lie so many times as far from the median as all others do."""
SATURATED = 1.25
"""What is left out of the levels is no brighter than this for the network: like a bright object."""
LONGEST_TAIL = 10
"""Times the spread of the background that its own noise goes to either side, at most."""
FARTHEST = 2.5
"""Times as far as the noise goes that sparse objects stand out, at least."""
INTO_OBJECTS = 2
"""Steps in `RARE` from the first percentile that lies on objects to one well inside of them."""
BRIGHT_COLOURS, BRIGHTEST = "bright colours", "brightest"
"""Entry of a header's normalisation by which coloured pixels of bright objects become grey."""
POLARITY = "polarity"
"""Entry of a header's normalisation that says whether all images are turned."""
BRIGHT_BACKGROUND = 0.4
"""A median above this share of the way from low to high means dark objects on a bright background."""
LARGEST_HALF = float(np.finfo(np.float32).max) / 4
"""Half of a range that float32 holds for certain."""
DIM = 0.05
"""Brightness, as a share of the range, below which the compressed channel is linear and above which logarithmic."""


@dataclass(frozen=True)
class Outlier:
    """A few things that lie far beyond the objects in brightness."""

    percent: float  # share of the image
    times: float  # how far they lie from the background, over the objects

    @property
    def is_left_out(self) -> bool:
        """Return whether the levels are measured without them; else they may be objects brighter than others."""
        return self.percent <= 100 * LARGEST_SHARE or self.times >= SURELY_TIMES


@dataclass(frozen=True)
class Levels:
    """The brightness of background and of bright objects in a whole image."""

    low: Level  # percentile 0.5 of the intensities, of each channel for the kind "channels",
    high: Level  # and 99.8; further out where objects fill less, and of all but a few things that are far brighter
    inverted: bool = False  # objects are dark on a bright background; never for "channels"
    shows_brightest: bool = False  # of a coloured pixel only the brightest colour is shown, as grey
    bright: Outlier | None = None  # things far brighter than the objects, which `high` leaves out, if it does

    @property
    def kind(self) -> Kind:
        """Return what kind of image these are the levels of."""
        return "channels" if isinstance(self.low, tuple) else "colours"


def normalisation(
    kind: Kind, count: int, knows_bright_colours: bool = True, polarity: str | None = None
) -> dict[str, Any]:
    """Describe for the header of a model how images become network channels.

    `knows_bright_colours` tells whether there were bright objects in colour among the images of the training;
    `polarity`, "bright" or "dark", is that of all images, or None if it is measured in each.
    """
    entries: dict[str, Any] = {"kind": kind, "count": count}
    entries |= {"low_percent": LOW_PERCENT, "high_percent": HIGH_PERCENT}
    entries |= {POLARITY: polarity} if polarity else {}
    return entries if knows_bright_colours else {**entries, BRIGHT_COLOURS: BRIGHTEST}


def kind_of(header: Mapping[str, Any]) -> Kind:
    """Read from a model's header what kind of image it takes; by default "colours"."""
    return "channels" if header.get("normalisation", {}).get("kind") == "channels" else "colours"


def channel_names(kind: Kind, count: int) -> list[str]:
    """Name the network's channels."""
    if kind == "colours":
        return ["red", "green", "blue", "compressed mean", "turned"]
    return [f"channel {number}" for number in range(1, count + 1)]


def measure_levels(image: np.ndarray, kind: Kind = "colours", valid: np.ndarray | None = None) -> Levels:
    """Measure the levels of an image of any numeric type, (…, Y, X) or (…, Y, X, C), where it is `valid`.

    With "channels" the last axis is the channels, and each has levels of its own. `inverted` is True where the median
    lies nearer to the bright end, as background fills most of most images; sparse objects show themselves whether they
    are bright or dark.
    """
    image = image if valid is None else image[valid]
    if kind == "channels":
        return levels_of_channels(values_of(channel) for channel in np.moveaxis(image, -1, 0))
    return levels_between(values_of(image))


class Values(NamedTuple):
    """What the levels are found from: percentiles of all values, and how many pixels have each value."""

    percentiles: Callable[[Sequence[float]], list[float]]
    measure: Measure


def values_of(image: np.ndarray) -> Values:
    """Count the values of an image; of a wide type only those between the usual percentiles, as blocks do."""
    image = image.astype(canonical_dtype(image.dtype), copy=False)
    percentiles = partial(exact_percentiles, image)
    if rounds_for(image.dtype) > 1:
        ends = percentiles([LOW_PERCENT, HIGH_PERCENT])
        if image.dtype.kind in "iu":
            limits = np.iinfo(image.dtype)
            ends = [min(max(int(end), int(limits.min)), int(limits.max)) for end in ends]
        image = np.clip(image, *(image.dtype.type(end) for end in ends))
    return Values(percentiles, run_job(measure(image)))


def levels_between(values: Values) -> Levels:
    """Make levels of the values of all channels together."""
    known = _known(values)
    middle = known[50]
    low, high, outlier = ends_of(values, known)
    dark, bright = sparse_objects(known, low, high)
    if bright is not None and (dark is None or bright - middle >= middle - dark):
        return Levels(low, bright)
    if dark is not None:
        return Levels(dark, high, inverted=True)
    return Levels(low, high, middle - low > BRIGHT_BACKGROUND * (high - low), bright=outlier)


def levels_of_channels(channels: Iterable[Values]) -> Levels:
    """Make levels of the values of each channel, in which objects are bright."""
    low, high = [], []
    for values in channels:
        known = _known(values)
        black, white, _ = ends_of(values, known)
        _, bright = sparse_objects(known, black, white)
        low.append(black)
        high.append(white if bright is None else bright)
    return Levels(tuple(low), tuple(high))


def _known(values: Values) -> dict[float, float]:
    return dict(zip(PERCENTS, values.percentiles(PERCENTS), strict=True))


def ends_of(values: Values, known: Mapping[float, float]) -> tuple[float, float, Outlier | None]:
    """Return the usual percentiles of an image at both ends, without a few things that lie far beyond all others.

    What is left must stand out from the noise at one end: the objects.
    """
    low, middle, high = known[LOW_PERCENT], known[50], known[HIGH_PERCENT]
    bright = _far_above(values.measure)
    share = bright.percent / 100 if bright is not None and bright.is_left_out else 0.0
    inner_low, inner_high = values.percentiles([FEW_PERCENT, HIGH_PERCENT * (1 - share)])
    rest = max(middle - inner_low, inner_high - middle)
    if rest < LONGEST_TAIL * _spread(known):
        return low, high, None
    return inner_low if middle - low >= FAR_BELOW * rest else low, inner_high, bright


def _far_above(measure: Measure) -> Outlier | None:
    """Return what is far brighter than the objects, by the histogram."""
    if 0 < measure.high / 2 - measure.low / 2 < LEAST:  # there are no steps to count on
        return None
    histogram = measure.histogram
    if histogram is None:
        return None
    _, share, times = without_bright(histogram)
    is_slight = share < SMALLEST_SHARE and times < SURELY_TIMES
    return Outlier(100 * share, times) if share and not is_slight else None


def _spread(known: Mapping[float, float]) -> float:
    """Return the standard deviation of the background, or less: the smallest step between usual percentiles."""
    usual = [known[percent] for percent in (LOW_PERCENT, *BULK)]
    return min((b - a for a, b in pairwise(usual) if b > a), default=0.0)


def sparse_objects(known: Mapping[float, float], low: float, high: float) -> tuple[float | None, float | None]:
    """Return where the darkest and the brightest objects lie that fill too little for the usual percentiles.

    None where there are none, and in any image with enough objects for the usual percentiles. `percentiles` are as many
    as `PERCENTS`.
    """
    middle, spread = known[50], _spread(known)
    below, above = middle - low, high - middle
    if max(below, above) > LONGEST_TAIL * spread:
        return None, None
    dark = [known[rare] - middle for rare in RARE]
    bright = [known[100 - rare] - middle for rare in RARE]
    lowest = _well_inside([-way for way in dark], max(LONGEST_TAIL * spread, FARTHEST * below))
    highest = _well_inside(bright, max(LONGEST_TAIL * spread, FARTHEST * above))
    return None if lowest is None else middle - lowest, None if highest is None else middle + highest


def _well_inside(ways: Sequence[float], farthest: float) -> float | None:
    """Return how far objects stand out, of rising distances from the middle; None where none is beyond the noise."""
    first = next((index for index, way in enumerate(ways) if way > farthest), None)
    return None if first is None else ways[min(first + INTO_OBJECTS, len(ways) - 1)]


def with_polarity(levels: Levels, polarity: str, header: Mapping[str, Any]) -> Levels:
    """Return the levels of an image as a model takes it.

    `polarity` is "auto" (that of the model, or else what was measured), "bright" or "dark". A model that was trained on
    bright objects in grey alone is given grey, since a nucleus that is nothing but blue would be unlike all that it
    learnt.
    """
    if levels.kind == "channels":
        return levels
    if polarity == "auto":
        polarity = header.get("normalisation", {}).get(POLARITY, "auto")
    inverted = levels.inverted if polarity == "auto" else polarity == "dark"
    is_grey = header.get("normalisation", {}).get(BRIGHT_COLOURS) == BRIGHTEST and not inverted
    return replace(levels, inverted=inverted, shows_brightest=is_grey)


def network_channels(image: np.ndarray, levels: Levels, *, is_coloured: bool | None = None) -> np.ndarray:
    """Turn an image into the network's channels, float32 (channels, …, Y, X): background near 0, bright objects near 1.

    For "colours": red, green and blue (a grey image is given to all three); then their mean, compressed, in which dim
    objects beside bright ones stand out; then 1 everywhere if the image was inverted, else 0, since dark objects on a
    bright background have other surroundings than bright ones on black.

    Parameters
    ----------
    image : array (…, Y, X) or (…, Y, X, C)
        For the kind "colours" grey or with three colours, for "channels" always with channels.
    levels : Levels
        Of the whole image, of which this may be a tile.
    is_coloured : bool, optional
        Whether the last axis is the colours; by default, unless the image has only two axes. Give it for volumes.
    """
    low, high = levels.low, levels.high
    if isinstance(low, tuple) or isinstance(high, tuple):
        return _own_channels(image, levels)
    if is_coloured is None:
        is_coloured = image.ndim > 2
    if is_coloured and levels.shows_brightest:
        image, is_coloured = image[..., :3].max(-1), False
    colours = np.moveaxis(image[..., :3], -1, 0) if is_coloured else np.broadcast_to(image[None], (3, *image.shape))
    linear = _linear(colours, low, high)
    if levels.bright is not None and levels.bright.is_left_out:
        linear = np.minimum(linear, np.float32(SATURATED))
    return from_colours(1 - linear if levels.inverted else linear, levels.inverted)


def from_colours(colours: np.ndarray, inverted: bool) -> np.ndarray:
    """Clip what is far out in (3, …) linear colours, and add their compressed mean and the turned-or-not channel."""
    colours = clipped(colours)
    compressed = np.arcsinh(colours.mean(0, keepdims=True) / DIM) / np.float32(np.arcsinh(1 / DIM))
    return np.concatenate([colours, compressed.astype(np.float32), np.full_like(colours[:1], inverted)])


def span_of(low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """Return the way from low to high; 1 where there is none, as in a constant image."""
    span = np.asarray(high, np.float64) - low
    return np.where(span > 0, span, 1).astype(np.float32)


def clipped(channels: np.ndarray) -> np.ndarray:
    """Clip what lies far out, such as hot pixels."""
    return np.clip(channels, -0.5, 2).astype(np.float32)


def _linear(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return how far each value lies on the way from low to high, float32."""
    if is_wide(image.dtype) or high / 2 - low / 2 > LARGEST_HALF:
        return share_of_way(image, low, high)
    return (image.astype(np.float32) - np.float32(low)) / span_of(low, high)


def _own_channels(image: np.ndarray, levels: Levels) -> np.ndarray:
    assert isinstance(levels.low, tuple)
    assert isinstance(levels.high, tuple)
    ends = zip(np.moveaxis(image, -1, 0), levels.low, levels.high, strict=True)
    return clipped(np.stack([_linear(*each) for each in ends]))


def exact_percentiles(image: np.ndarray, percents: Sequence[float]) -> list[float]:
    """Return percentiles as `np.percentile`; for huge integers as integers, which keep their last digits."""
    if not is_wide(image.dtype) or image.dtype.kind == "f":
        return np.percentile(image, percents).tolist()
    lowest = image.min()
    return [offset_by(int(lowest), away) for away in np.percentile(above(image, lowest), percents).tolist()]


def offset_by(lowest: int, away: float) -> float:
    """Add a distance to the lowest value; the sum is an integer if float64 would lose digits."""
    return lowest + away if abs(lowest) + away < EXACT else lowest + round(away)


def share_of_way(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the position of values of a wide type between low (0) and high (1), float32, clipped to -1 and 2.

    Only the differences between pixels matter: values may lie at 2⁶⁰, or go up to 10³⁰⁰.
    """
    if image.dtype.kind == "f":
        # Halves cannot overflow, whatever the range.
        way = high / 2 - low / 2
        share = (image / 2 - low / 2) / (way if way > 0 else 1)
        return np.clip(share, -1, 2).astype(np.float32)
    way = high - low if high > low else 1
    limits = np.iinfo(image.dtype)
    start = max(int(limits.min), math.floor(low) - math.ceil(way))
    stop = min(int(limits.max), math.ceil(high) + math.ceil(way))
    first = image.dtype.type(start)
    return ((above(np.clip(image, first, image.dtype.type(stop)), first) - float(low - start)) / way).astype(np.float32)
