"""What of an image is no image: NaN, infinite, masked and transparent pixels, and padding at the rim.

A fluorescence image whose background is clipped to 0 has a constant region at its rim, too. Padding is told apart by
its straight border, as it comes from pasting, shifting, rotating or stitching; or by its value, which is far from the
image's where an instrument sees a round field, or where corners are rounded. A rectangle of one value inside the image
may be a scale bar, and may be an object, so it is image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

COARSE_PX = 1024
"""Larger images are looked at in so many rows and columns."""
COARSE_PLANES = 9
SMALLEST_SIDE_PX = 32
"""In a smaller image a straight border cannot be told from a round one."""
CANDIDATES = 8
RIM_PX = 2
"""So many pixels at the padding are no image, either, where it was blended with the image by interpolation."""
PADDING_REACH = 2 + RIM_PX
"""A block needs so many more pixels at each side."""
SMALLEST_SHARE_OF_RIM = 0.02
LARGEST_SHARE_AT_THE_END, LARGEST_SHARE_BETWEEN = 0.005, 0.05
"""Padding has a value that is rarer than this in the rest of the image, if it is darker or brighter than nearly all of
it (as a clipped background is), and if it is not.
"""
SHARE_BEYOND = 0.02
SMALLEST_SHARE_OF_IMAGE = 0.2
"""At least this share of an image is image."""
FEWEST_VALUES = 16
"""An image has at least so many different values; a drawing has fewer."""
STRAIGHT_PX = (24, 36)
STRAIGHT_SHARE_OF_SIDE = 1 / 5
STEP_PX = 8
"""A border along an axis may have steps, each of which is at least so long."""
ROUGHNESS_PX = 1.6
"""The pixels of a straight slanted border differ by less from a line."""
STRAIGHT_SHARE = 0.85
CONNECTED_SHARE = 0.95
FARTHEST = np.int32(2**31 - 1)
STEPS = 2
"""Padding is farther from the image than so many usual differences between neighbouring pixels."""
FLAT_SHARE = 0.7
"""In a drawing, more than this share of the neighbouring pixels of its shapes are equal."""
BLENDED_SHARE = 0.85
SPANNED_SHARE = 0.85
SMALLEST_SHARE_AROUND = 0.04
"""A field of view has at least so much around it; less is saturated light."""
GAP_SHARE = 0.1
"""What lies around a field of view differs from all of it by more than this share of its range."""
ROUNDED_SHARE = 0.9
"""The corners that are missing from a rounded field of view are those of a circle or of an ellipse to this share."""
STRUCTURE_SHARE = 0.3
"""Of noise, so much is left when 5 × 5 pixels are averaged."""
DIM_SHARE = 0.2
"""Half of the pixels at the border are brighter than this share of the image; the rims of objects are not."""


Colour = tuple[float | None, ...]


@dataclass(frozen=True)
class Fill:
    """What of an image is no image; the same for all blocks of it."""

    colours: tuple[Colour, ...] = ()
    """Values of padding, one for each channel; None where the channel may have any."""
    has_nan: bool | None = False
    """Whether pixels are NaN or infinite; None if that is not known before each block is read."""
    is_blended: bool = False
    """The pixels at the padding lie between its value and the image."""
    is_transparent: bool = False
    """The last of four channels is opacity."""
    is_masked: bool = False
    typical: tuple[float, ...] = (0.0,)
    """Median of each channel where the image is."""

    def valid(self, block: np.ndarray, channel_axis: int | None, masked: np.ndarray | None = None) -> np.ndarray | None:
        """Return where a block is image, with its shape in space; None if all of it is.

        At its rim, a block that is cut out of an image needs `PADDING_REACH` more pixels than are used.
        """
        values = block[..., None] if channel_axis is None else np.moveaxis(block, channel_axis, -1)
        invalid = np.zeros(values.shape[:-1], bool) if masked is None else masked.astype(bool)
        if self.has_nan is not False and block.dtype.kind == "f":
            invalid |= ~np.isfinite(values).all(axis=-1)
        if self.is_transparent:
            invalid |= values[..., 3] == 0
        for colour in self.colours:
            padding = _without_specks(_is_colour(values, colour))
            invalid |= _widened(padding, RIM_PX) if self.is_blended else padding
        return ~invalid if invalid.any() else None

    def amount(self, share: float) -> str:
        """Return what share of the pixels is no image, and what it is."""
        causes = [f"padding with the value {_in_words(colour)}" for colour in self.colours]
        causes += ["transparent"] * self.is_transparent + ["masked"] * self.is_masked
        causes += ["NaN or infinite"] if self.has_nan or not causes else []
        percent = 100 * share
        amount = f"{percent:.0f} %" if percent >= 1 else "less than 1 %"
        return f"{amount} of the pixels are not image ({', '.join(causes)})"

    def note(self, share: float) -> str:
        """Return a sentence on the share of the pixels that are no image."""
        return f"{self.amount(share)}: they were left out, and are 0 in the labels."


def find_fill(
    image: Any, channel_axis: int | None, *, masked: Any = None, may_be_transparent: bool = False
) -> Fill | None:
    """Find what of an image, (Y, X) or (Z, Y, X) with channels, is no image; None if all is image.

    Of a large image, or one that is not in memory, only the rim and evenly spaced pixels are read. `masked` is True
    where a masked array is masked.
    """
    in_memory = isinstance(image, np.ndarray)
    has_nan: bool | None = False
    if np.dtype(image.dtype).kind == "f":
        has_nan = not np.isfinite([image.min(), image.max()]).all() if in_memory else None
    fill = Fill(
        has_nan=has_nan, is_masked=masked is not None and (not isinstance(masked, np.ndarray) or bool(masked.any()))
    )
    index = _coarse_index(_in_space(image.shape, channel_axis))
    rim, is_shown = _rim(image, masked, index, channel_axis)
    shown = rim[is_shown] if is_shown.any() else rim
    n_channels = rim.shape[-1]
    is_separate = n_channels > 1 and not (may_be_transparent and n_channels in (3, 4))
    candidates = _candidates(rim[is_shown], [len(places) for places in index[-2:]], is_separate)
    may_be_transparent &= n_channels == 4
    if candidates or in_memory or (may_be_transparent and bool((rim[:, 3] == 0).any())):
        sample = _picked(image, index, channel_axis)
        hidden = None if masked is None else _picked(masked, index, None)[..., 0]
        fill, shown = _look_for_padding(fill, sample, hidden, candidates, may_be_transparent)
    if not (fill.colours or has_nan is not False or fill.is_transparent or fill.is_masked):
        return None
    return replace(fill, typical=tuple(np.median(shown, axis=0).tolist() if len(shown) else [0.0]))


def _look_for_padding(
    fill: Fill, sample: np.ndarray, hidden: np.ndarray | None, candidates: Sequence[Colour], has_opacity: bool
) -> tuple[Fill, np.ndarray]:
    """Return what of a sample, ([Z,] Y, X, C), is no image, and the pixels, (N, C), that are."""
    if has_opacity and (_is_opacity(sample) or _is_opaque(sample)):
        fill = replace(fill, is_transparent=_is_opacity(sample))
        candidates = [(*colour[:3], None) for colour in candidates]
    valid = fill.valid(sample, sample.ndim - 1, hidden)
    planes = sample if sample.ndim == 4 else sample[None]
    shown = np.ones(planes.shape[:-1], bool) if valid is None else valid.reshape(planes.shape[:-1])
    colours: tuple[Colour, ...] = ()
    for colour in candidates:
        if not _is_known(colour, colours) and _is_padding(planes, shown, colour):
            colours = (*colours, colour)
    is_blended = any(_is_blended(planes, shown, colour) for colour in colours)
    for colour in colours:
        shown = shown & ~_is_colour(planes, colour)
    return replace(fill, colours=colours, is_blended=is_blended), planes[shown]


def filled(
    image: np.ndarray, valid: np.ndarray, channel_axis: int | None, typical: Sequence[float] = (0.0,)
) -> np.ndarray:
    """Return an image in which pixels that are no image mirror those across the border, so that there is no edge.

    Planes without any image are like the next one with some; without any, all have each channel's `typical` value.
    """
    image = image.copy()
    values = image[..., None] if channel_axis is None else np.moveaxis(image, channel_axis, -1)
    planes, known = (values, valid) if valid.ndim == 3 else (values[None], valid[None])
    shown = np.flatnonzero(known.any(axis=(1, 2)))
    if not len(shown):
        values[...] = np.asarray(typical, np.float64).astype(image.dtype)
        return image
    for plane in shown:
        _fill_plane(planes[plane], known[plane].copy())
    for plane in np.setdiff1d(np.arange(len(planes)), shown):
        planes[plane] = planes[shown[np.argmin(np.abs(shown - plane))]]
    return image


def _fill_plane(values: np.ndarray, known: np.ndarray) -> None:
    """Fill a plane, (Y, X, C), in place: first along rows and columns, then what is left from what was filled."""
    while not known.all():
        gaps = np.nonzero(~known)
        nearest = np.full(len(gaps[0]), FARTHEST)
        sources = gaps
        for axis in (0, 1):
            place, distance = _nearest_along(known, axis, gaps)
            mirrored = np.clip(2 * place - gaps[axis], 0, known.shape[axis] - 1)
            across = (mirrored, gaps[1]) if axis == 0 else (gaps[0], mirrored)
            place = np.where(known[across], mirrored, place)
            found = tuple(place if other == axis else gaps[other] for other in (0, 1))
            sources = tuple(np.where(distance < nearest, new, old) for new, old in zip(found, sources, strict=True))
            nearest = np.minimum(nearest, distance)
        is_found = nearest < FARTHEST
        gaps, sources = (tuple(places[is_found] for places in each) for each in (gaps, sources))
        values[gaps], known[gaps] = values[sources], True


def _nearest_along(known: np.ndarray, axis: int, gaps: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each gap, the place of the nearest known pixel along an axis, and how far it is."""
    places = np.arange(known.shape[axis], dtype=np.int32).reshape((-1, 1) if axis == 0 else (1, -1))
    before = np.maximum.accumulate(np.where(known, places, -1), axis=axis)[gaps]
    backwards = np.flip(np.where(known, places, FARTHEST), axis)
    behind = np.flip(np.minimum.accumulate(backwards, axis=axis), axis)[gaps]
    to_before = np.where(before >= 0, gaps[axis] - before, FARTHEST)
    to_behind = np.where(behind < FARTHEST, behind - gaps[axis], FARTHEST)
    return np.where(to_before <= to_behind, before, behind), np.minimum(to_before, to_behind)


def _in_space(values: Sequence[int], channel_axis: int | None) -> list[int]:
    """Leave out the channels of what there is for each axis."""
    return [value for axis, value in enumerate(values) if channel_axis is None or axis != channel_axis % len(values)]


def _coarse_index(shape: Sequence[int]) -> list[np.ndarray]:
    """Return evenly spaced places along each axis in space, with both ends."""
    most = [COARSE_PLANES] * (len(shape) - 2) + [COARSE_PX] * 2
    counts = [min(side, count) for side, count in zip(shape, most, strict=True)]
    return [np.linspace(0, side - 1, count).round().astype(int) for side, count in zip(shape, counts, strict=True)]


def _rim(
    image: Any, masked: Any, index: Sequence[np.ndarray], channel_axis: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the rims of the planes, (N, C), and return which of these pixels are neither masked nor NaN."""
    values, is_hidden = [], []
    n_channels = 1 if channel_axis is None else image.shape[channel_axis]
    for axis in (-2, -1):
        ends = list(index)
        ends[axis] = ends[axis][[0, -1]]
        values.append(_picked(image, ends, channel_axis).reshape(-1, n_channels))
        is_hidden.append(np.zeros(len(values[-1]), bool) if masked is None else _picked(masked, ends, None).reshape(-1))
    rim, is_shown = np.concatenate(values), ~np.concatenate(is_hidden)
    return rim, is_shown if rim.dtype.kind != "f" else is_shown & ~np.isnan(rim).any(axis=1)


def _picked(image: Any, index: Sequence[np.ndarray], channel_axis: int | None) -> np.ndarray:
    """Read some places along each axis in space, infinite ones as NaN; channels come last, and are added if missing."""
    axes = _in_space(range(len(image.shape)), channel_axis)
    for axis, places in sorted(zip(axes, index, strict=True), key=lambda each: len(each[1])):
        if len(places) < image.shape[axis]:
            image = image[(slice(None),) * axis + (places,)]
    array = np.asarray(image.compute(scheduler="synchronous") if hasattr(image, "compute") else image)
    if array.dtype.kind == "f" and np.isinf(array).any():
        array = np.where(np.isinf(array), np.nan, array)
    return array[..., None] if channel_axis is None else np.moveaxis(array, channel_axis, -1)


def _opaque(dtype: np.dtype) -> float:
    return np.iinfo(dtype).max if dtype.kind in "ui" else 1


def _is_opaque(values: np.ndarray) -> bool:
    """Return whether the last of four channels is as high as it can be everywhere."""
    return bool((values[..., 3] == _opaque(values.dtype)).all())


def _is_opacity(values: np.ndarray) -> bool:
    """Return whether the last of four channels is 0 at some pixels, and as high as it can be at most others."""
    if values.shape[-1] != 4:
        return False
    opacity, opaque = values[..., 3], _opaque(values.dtype)
    is_end = (opacity == 0) | (opacity == opaque)
    return bool((opacity == 0).any() and is_end.mean() >= 0.9 and (opacity == opaque).mean() >= SMALLEST_SHARE_OF_IMAGE)


def _is_colour(values: np.ndarray, colour: Colour) -> np.ndarray:
    """Return which pixels have a value in each channel, or in those that are named."""
    found = np.ones(values.shape[:-1], bool)
    for channel, value in enumerate(colour):
        if value is not None:
            found &= values[..., channel] == value
    return found


def _is_known(colour: Colour, found: Sequence[Colour]) -> bool:
    """Return whether one channel of a colour that was found in all channels is asked about."""
    return any(all(value in (None, other) for value, other in zip(colour, each, strict=True)) for each in found)


def _named(planes: np.ndarray, colour: Colour) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return the channels that a colour names, and their values."""
    channels = [channel for channel, value in enumerate(colour) if value is not None]
    return planes[..., channels], tuple(value for value in colour if value is not None)


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Keep what 3 × 3 pixels of a plane fit into; there is more of the mask around the image."""
    wide = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(2, 2)] * 2, constant_values=True)
    for combine in (np.logical_and, np.logical_or):
        rows = combine(combine(wide[..., :-2, :], wide[..., 1:-1, :]), wide[..., 2:, :])
        wide = combine(combine(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
    return wide & mask


def _candidates(rim: np.ndarray, sides: Sequence[int], is_separate: bool) -> list[Colour]:
    """Return the values that are most frequent at the rim, (N, C): of all channels, and of each one if wanted."""
    if min(sides) < SMALLEST_SIDE_PX or not len(rim):
        return []
    n_channels = rim.shape[-1]
    groups = [list(range(n_channels)), *([[channel] for channel in range(n_channels)] if is_separate else [])]
    candidates: list[Colour] = []
    for channels in groups:
        found, counts = np.unique(rim[:, channels], axis=0, return_counts=True)
        often = np.argsort(-counts)[:CANDIDATES]
        for values in found[often][counts[often] >= SMALLEST_SHARE_OF_RIM * len(rim)].tolist():
            named = dict(zip(channels, values, strict=True))
            candidates.append(tuple(named.get(channel) for channel in range(n_channels)))
    return candidates


def _is_padding(planes: np.ndarray, shown: np.ndarray, named: Colour) -> bool:
    """Return whether the pixels of one value at the rim are padding."""
    planes, colour = _named(planes, named)
    same = _is_colour(planes, colour)
    padding = _without_specks(same)
    if (padding & shown).sum() < min(planes.shape[1:3]) / 2:
        return False
    image = shown & ~padding
    if image.sum() < SMALLEST_SHARE_OF_IMAGE * shown.sum():
        return False
    values = planes[image]  # (N, C)
    is_between = min((values < colour).any(axis=1).mean(), (values > colour).any(axis=1).mean()) >= SHARE_BEYOND
    most = LARGEST_SHARE_BETWEEN if is_between else LARGEST_SHARE_AT_THE_END
    if same[image].mean() > most:
        return False
    if max(len(np.unique(channel)) for channel in values.T) < FEWEST_VALUES:
        return False
    is_cut = padding.any(axis=(1, 2)) & image.any(axis=(1, 2))
    cut = np.flatnonzero(is_cut)
    return (
        all(_is_in_one_piece(image[plane]) for plane in cut)
        and not _is_drawing(planes[..., 0], image)
        and (
            (all(_is_straight(padding[plane]) for plane in cut) and _has_a_step(planes, image, padding, colour))
            or all(_is_field_of_view(planes[plane], image[plane], padding[plane], colour) for plane in cut)
        )
    )


def _is_in_one_piece(image: np.ndarray) -> bool:
    """Return whether nearly all of the image of a plane, (Y, X), is connected."""
    from scipy import ndimage

    pieces, _ = ndimage.label(image, np.ones((3, 3)))
    return bool(np.bincount(pieces[image]).max() >= CONNECTED_SHARE * image.sum())


def _is_field_of_view(values: np.ndarray, image: np.ndarray, padding: np.ndarray, colour: tuple[float, ...]) -> bool:
    """Return whether the padding of a plane, (Y, X, C), lies around what an instrument sees.

    The image reaches nearly from side to side, or is an ellipse or a rectangle with rounded corners and a sharp edge;
    it holds more than noise, and all of it is far from the padding's value. A background that was clipped is near the
    dimmest pixels of the image, and the edge of an object is not sharp.
    """
    from scipy import ndimage

    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    spans = (np.ptp(rows) + 1) / len(image), (np.ptp(columns) + 1) / image.shape[1]
    is_around = padding.mean() >= SMALLEST_SHARE_AROUND and min(spans) >= SPANNED_SHARE
    outline = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if not is_around and (not _is_rounded(outline) or _is_blended(values[None], image[None], colour)):
        return False
    inner = image & ~_widened(padding, RIM_PX)
    for channel, value in enumerate(colour):
        plane = values[..., channel].astype(np.float64)
        spread = np.subtract(*np.quantile(plane[inner], (0.995, 0.005)))
        if np.quantile(np.abs(plane[inner] - value), 0.005) < GAP_SHARE * spread:
            continue
        level = np.where(image, plane, np.median(plane[inner]))
        if ndimage.uniform_filter(level, 5)[inner].std() > STRUCTURE_SHARE * plane[inner].std():
            return True
    return False


def _is_rounded(image: np.ndarray) -> bool:
    """Return whether an image that reaches all sides, (Y, X), is an ellipse or a rectangle with round corners.

    Corners of the radii a and b leave out (4 - π) · a · b of the rectangle.
    """
    sides = np.array(image.shape)
    radius = np.sqrt((~image).sum() / (4 - np.pi))
    for radii in (sides / 2, np.minimum(sides / 2, radius)):
        away = [
            np.maximum(0, np.abs(np.arange(side) - (side - 1) / 2) - (side / 2 - within)) / max(within, 1)
            for side, within in zip(sides, radii, strict=True)
        ]
        corners = away[0][:, None] ** 2 + away[1] ** 2 > 1
        if corners.any() and (corners & ~image).sum() >= ROUNDED_SHARE * (corners | ~image).sum():
            return True
    return False


def _is_drawing(values: np.ndarray, image: np.ndarray) -> bool:
    """Return whether most neighbours in the image are equal, its most frequent value aside: flat shapes, not noise."""
    found, counts = np.unique(values[image], return_counts=True)
    pairs = image[..., 1:] & image[..., :-1] & (values[..., 1:] != found[np.argmax(counts)])
    return bool((values[..., 1:] == values[..., :-1])[pairs].mean() > FLAT_SHARE) if pairs.any() else True


def _has_a_step(planes: np.ndarray, image: np.ndarray, padding: np.ndarray, colour: tuple[float, ...]) -> bool:
    """Return whether the image near the padding is far from its value, as the image is elsewhere.

    The rims of objects are nearer to it than objects are, and in a smooth image the next pixels always are near.
    """
    near = _ring(padding, RIM_PX) & image
    if not near.any():
        return True
    for channel, value in enumerate(colour):
        values = planes[..., channel].astype(np.float64)
        away = np.abs(values - value)
        step = np.median(away[near])
        pairs = image[..., 1:] & image[..., :-1]
        usual = np.median(np.abs(np.diff(values, axis=2))[pairs]) if pairs.any() else 0
        if step < np.quantile(away[image], DIM_SHARE) or step <= STEPS * usual:
            return False
    return True


def _is_blended(planes: np.ndarray, shown: np.ndarray, named: Colour) -> bool:
    """Return whether the next pixels are nearer to the value of the padding than the ones behind them."""
    planes, colour = _named(planes, named)
    padding = _without_specks(_is_colour(planes, colour))
    away = np.abs(planes.astype(np.float64) - colour).max(axis=-1)
    first, behind = (_ring(padding, distance) & shown for distance in (0, RIM_PX))
    return bool(first.any() and behind.any() and np.median(away[first]) < BLENDED_SHARE * np.median(away[behind]))


def _ring(padding: np.ndarray, distance: int) -> np.ndarray:
    """Return the pixels that lie next to the padding, after leaving out so many."""
    inner = _widened(padding, distance)
    return _widened(inner, 1) & ~inner


def _widened(padding: np.ndarray, by_px: int) -> np.ndarray:
    """Widen the padding of each plane by so many pixels, diagonally as well."""
    wide = padding
    for _ in range(by_px):
        for axis in (-2, -1):
            ahead, behind = [slice(None)] * wide.ndim, [slice(None)] * wide.ndim
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            grown = wide.copy()
            grown[tuple(ahead)] |= wide[tuple(behind)]
            grown[tuple(behind)] |= wide[tuple(ahead)]
            wide = grown
    return wide


def _is_straight(padding: np.ndarray) -> bool:
    """Return whether the padding of a plane, (Y, X), has a straight border, maybe with steps."""
    reached = np.zeros_like(padding)
    n_border = n_straight = 0
    for turned, reached_there in ((padding, reached), (padding.T, reached.T)):
        for one, reached_here in ((turned, reached_there), (turned[:, ::-1], reached_there[:, ::-1])):
            is_in = np.logical_and.accumulate(one, axis=1)
            reached_here |= is_in
            widths = is_in.sum(axis=1)
            rows = np.flatnonzero((widths > 0) & (widths < one.shape[1]))
            n_border += len(rows)
            n_straight += _straight_px(rows, widths[rows], len(widths))
    return (
        n_straight >= STRAIGHT_SHARE * n_border and (padding & ~reached).sum() <= (1 - CONNECTED_SHARE) * padding.sum()
    )


def _straight_px(rows: np.ndarray, widths: np.ndarray, side: int) -> int:
    """Count the rows of a border, `widths` from the rim, that are part of a long line, or of a step along the axis."""
    long = max(STRAIGHT_PX[0], min(STRAIGHT_PX[1], side / 3), STRAIGHT_SHARE_OF_SIDE * side)
    found = start = 0
    while start < len(rows):
        level = _end_of_level(rows, widths, start)
        stop = max(level, _end_of_line(rows, widths, start))
        if level - start >= STEP_PX:
            stop = level
            found += stop - start
        elif np.hypot(stop - start, widths[stop - 1] - widths[start]) >= long or stop - start == len(rows):
            found += stop - start
        start = stop
    return found


def _end_of_level(rows: np.ndarray, widths: np.ndarray, start: int) -> int:
    """Return the end of the longest run of neighbouring rows of one width."""
    changes = np.flatnonzero((np.diff(widths[start:]) != 0) | (np.diff(rows[start:]) != 1))
    return start + int(changes[0]) + 1 if len(changes) else len(rows)


def _end_of_line(rows: np.ndarray, widths: np.ndarray, start: int) -> int:
    """Return the end of the longest run of neighbouring rows whose widths lie on a line, found by halving."""
    gaps = np.flatnonzero(np.diff(rows[start:]) != 1)
    most = start + int(gaps[0]) + 1 if len(gaps) else len(rows)
    low, high = min(start + 2, most), most
    while low < high:
        middle = (low + high + 1) // 2
        if _is_line(widths[start:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def _is_line(widths: np.ndarray) -> bool:
    """Return whether a border stays near a line; a steep one may move by several pixels from row to row."""
    at = np.arange(len(widths))
    slope, offset = np.polyfit(at, widths, 1)
    away = widths - (slope * at + offset)
    return bool(np.ptp(away) <= ROUGHNESS_PX * max(1.0, np.hypot(1, slope)))


def _in_words(colour: Colour) -> str:
    values = [f"{value:g}".replace("-", "−") for value in colour if value is not None]
    return values[0] if len(set(values)) == 1 else f"({', '.join(values)})"
