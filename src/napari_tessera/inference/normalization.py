"""Normalise the brightness of an image's channels for a network, by percentiles.

The percentiles are those of the whole image, so that a tile has the same values as within the image.

There are two kinds. ``"colours"`` takes grey and RGB images alike and turns them into five channels. ``"channels"``
takes a fixed number of channels, such as two stains, each with its own percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from napari_tessera.core.rescale import EXACT, above, is_wide

Kind = Literal["colours", "channels"]
Level = float | tuple[float, ...]
CHANNELS = 5
"""Channels that an image of the kind "colours" is turned into."""
LOW_PERCENT, HIGH_PERCENT = 0.5, 99.8
RARE = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Shares of an image, %, that sparse objects may fill; they lie beyond the percentiles that are black and white."""
BULK = (5, 16, 50, 84, 95)
SHARES = (0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7)
"""Shares of an image, %, at either end, that are compared to find a few things much brighter than the objects."""
PERCENTS = tuple(
    sorted({*RARE, LOW_PERCENT, *BULK, HIGH_PERCENT, *SHARES, *(100 - share for share in (*RARE, *SHARES))})
)
"""Percentiles that are measured, in rising order."""
FAR_ABOVE = ((0.7, 2.5), (2, 3.5))
"""Times as far from the median as the objects that something lies which is none of them, at least, by the largest share
of the image, %, that it fills."""
GAP = 1.5
"""Times as far as the next pixels, of a little larger share, that it lies somewhere: there is nothing in between."""
SATURATED = 1.25
"""What is left out of the levels is no brighter than this for the network: like a bright object."""
ROOM = 1.3
"""Times as far from the median as the objects behind the gap that some of them may lie."""
MOST_UNEVEN = 2.5
"""Times as far from the median as the pixels twice as numerous that the brightest objects lie, at most."""
LONGEST_TAIL = 10
"""Times the spread of the background that its own noise goes to either side, at most."""
FARTHEST = 2.5
"""Times as far as the noise goes that sparse objects stand out, at least."""
INTO_OBJECTS = 2
"""Steps in `RARE` from the first percentile that lies on objects to one well inside of them."""
BRIGHT_COLOURS, BRIGHTEST = "bright colours", "brightest"
"""Entry of a header's normalisation by which coloured pixels of bright objects become grey."""
BRIGHT_BACKGROUND = 0.4
"""A median above this share of the way from low to high means dark objects on a bright background."""
LARGEST_HALF = float(np.finfo(np.float32).max) / 4
"""Half of a range that float32 holds for certain."""
DIM = 0.05
"""Brightness, as a share of the range, below which the compressed channel is linear and above which logarithmic."""


@dataclass(frozen=True)
class Outlier:
    """A few things that lie far beyond the objects in brightness."""

    percent: float  # share of the image, at most
    times: float  # how far they lie from the median, over the brightest objects


@dataclass(frozen=True)
class Levels:
    """The brightness of background and of bright objects in a whole image."""

    low: Level  # percentile 0.5 of the intensities, of each channel for the kind "channels",
    high: Level  # and 99.8; further out where objects fill less, further in where a few things are far brighter
    inverted: bool = False  # objects are dark on a bright background; never for "channels"
    shows_brightest: bool = False  # of a coloured pixel only the brightest colour is shown, as grey
    bright: Outlier | None = None  # things far brighter than the objects, which `high` leaves out

    @property
    def kind(self) -> Kind:
        """Return what kind of image these are the levels of."""
        return "channels" if isinstance(self.low, tuple) else "colours"


def normalisation(kind: Kind, count: int, knows_bright_colours: bool = True) -> dict[str, Any]:
    """Describe for the header of a model how images become network channels.

    `knows_bright_colours` tells whether there were bright objects in colour among the images of the training.
    """
    entries = {"kind": kind, "count": count, "low_percent": LOW_PERCENT, "high_percent": HIGH_PERCENT}
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
        channels = np.moveaxis(image, -1, 0)
        return levels_of_channels([exact_percentiles(channel, list(PERCENTS)) for channel in channels])
    return levels_between(exact_percentiles(image, list(PERCENTS)))


def levels_between(percentiles: Sequence[float]) -> Levels:
    """Make levels of the percentiles `PERCENTS` of all channels together."""
    known = dict(zip(PERCENTS, percentiles, strict=True))
    middle = known[50]
    low, high, outlier = ends_of(known)
    dark, bright = sparse_objects(known, low, high)
    if bright is not None and (dark is None or bright - middle >= middle - dark):
        return Levels(low, bright)
    if dark is not None:
        return Levels(dark, high, inverted=True)
    return Levels(low, high, middle - low > BRIGHT_BACKGROUND * (high - low), bright=outlier)


def levels_of_channels(percentiles: Iterable[Sequence[float]]) -> Levels:
    """Make levels of the percentiles `PERCENTS` of each channel, in which objects are bright."""
    low, high = [], []
    for each in percentiles:
        known = dict(zip(PERCENTS, each, strict=True))
        black, white, _ = ends_of(known)
        _, bright = sparse_objects(known, black, white)
        low.append(black)
        high.append(white if bright is None else bright)
    return Levels(tuple(low), tuple(high))


def ends_of(known: Mapping[float, float]) -> tuple[float, float, Outlier | None]:
    """Return the usual percentiles of an image at both ends, without a few things that lie far beyond all others."""
    low, high = known[LOW_PERCENT], known[HIGH_PERCENT]
    above = {share: known[100 - share] - known[50] for share in SHARES}
    below = {share: known[50] - known[share] for share in SHARES if share >= LOW_PERCENT}
    noise = LONGEST_TAIL * _spread(known)
    dark = _outlier(known[50] - low, below, noise, max(above.values()))
    bright = _outlier(high - known[50], above, noise, max(below.values()))
    low = known[50] - below[dark[1]] if dark else low
    return (low, known[50] + above[bright[1]], bright[0]) if bright else (low, high, None)


def _outlier(farthest: float, ways: Mapping[float, float], noise: float, other: float) -> tuple[Outlier, float] | None:
    """Return what is far beyond all other pixels, and the share from which on only these are left.

    There are objects, here or at the `other` end, that stand out from the noise; they fill twice as much as the thing,
    and are about as bright as each other.

    Parameters
    ----------
    farthest : float
        Distance of the outermost pixels from the median.
    ways : mapping of float to float
        Distance at each share of the pixels, %, in rising order of the shares.
    """
    shares, before, largest_step = list(ways), farthest, 1.0
    for share in shares:
        far_above = next((times for largest, times in FAR_ABOVE if share <= largest), None)
        if far_above is None or ways[share] <= 0:
            return None
        way, wider = ways[share], next(ways[each] for each in shares if each >= 2 * share)
        largest_step, before = max(largest_step, before / way), way
        stands_out = farthest >= far_above * way and largest_step >= GAP and max(way, other) >= noise
        if stands_out and way <= MOST_UNEVEN * wider:
            behind = next(each for each in shares if ways[each] <= ROOM * way)
            return Outlier(share, farthest / ways[behind]), behind
    return None


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

    `polarity` is "auto" (leaves what was measured), "bright" or "dark". A model that was trained on bright objects in
    grey alone is given grey, since a nucleus that is nothing but blue would be unlike all that it learnt.
    """
    if levels.kind == "channels":
        return levels
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
    if levels.bright is not None:
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


def exact_percentiles(image: np.ndarray, percents: list[float]) -> list[float]:
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
