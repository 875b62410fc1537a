"""What pixels are compared by: their intensity from 0 to 1, the texture around them, or both.

Texture is how strongly the intensity changes along each direction, at two scales. Laws' texture energy: the mean size
of a filter's response in a window. A window on a border between two textures measures a mixture of both, so each pixel
then takes what was measured in a window near it that lies off the borders.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import chain, product

import numpy as np

from napari_tessera.algorithms.gaussian import sigmas_px, smoothed
from napari_tessera.core.checks import RGB_TO_LUMINANCE, to_grey
from napari_tessera.core.jobs import Job, Piece, Progress, bands, in_threads, pieces, subtask
from napari_tessera.core.rescale import Number, share_of_range

FINE_SIGMA = 1.0
COARSE_SHARE = 0.25
"""Sigma of the derivatives: in pixels along X at the fine scale, as a share of the radius at the coarse one."""
WINDOW_SHARE, MOVE_SHARE = 0.5, 0.75
"""Sigma of the window, and how far a pixel looks for another window, as shares of the radius."""
FLOOR = 0.1
"""Share of the image's mean energy below which differences in energy count little."""
SAMPLE_PX = 1 << 18
OPACITY = len(RGB_TO_LUMINANCE)


def chosen_channels(image: np.ndarray, channel_axis: int | None, channel: int | None, method: str) -> list[np.ndarray]:
    """Return one channel, or with None all of them; the last of four channels is opacity and left out."""
    if channel_axis is None or channel is not None:
        return [to_grey(image, channel_axis, channel, method)]
    channels = list(np.moveaxis(image, channel_axis, 0))
    return channels[:OPACITY] if len(channels) == OPACITY + 1 else channels


def framed_fractions(channels: list[np.ndarray], sigma: float, spacing: tuple[float, ...] | None) -> Job[np.ndarray]:
    """Scale intensities to 0…1 over the range of all channels together, smooth them, and add a frame of zeros.

    `sigma` is in pixels along X, and 0 does not smooth. The result is float32, (Y + 2, X + 2, C) or (Z + 2, Y + 2, X +
    2, C).
    """
    shape = channels[0].shape
    framed = np.zeros((*(size + 2 for size in shape), len(channels)), np.float32)
    unframed = framed[(slice(1, -1),) * len(shape)]
    yield Progress(0, len(channels), "Reading intensities")
    low = min(channel.min().item() for channel in channels)
    high = max(channel.max().item() for channel in channels)
    for index, channel in enumerate(channels):
        values = yield from subtask(fractions(channel, low, high), index, 0.3, len(channels))
        if sigma:
            values = yield from subtask(smoothed(values, sigma, spacing), index + 0.3, 0.7, len(channels))
        unframed[..., index] = values
    return framed


def fractions(values: np.ndarray, low: Number, high: Number) -> Job[np.ndarray]:
    """Scale low…high to 0…1, float32; a constant image is 0 everywhere."""
    result = np.zeros(values.shape, np.float32)

    def scale(piece: Piece) -> None:
        result[piece] = share_of_range(values[piece], low, high)

    yield from in_threads(scale, pieces(values.shape) if low != high else [], "Reading intensities")
    return result


def framed_features(
    channels: list[np.ndarray],
    feature: str,
    sigma: float,
    texture_radius: int,
    spacing: tuple[float, ...] | None = None,
    valid: np.ndarray | None = None,
) -> Job[np.ndarray]:
    """Return what pixels are compared by: "intensity", smoothed with a Gaussian of `sigma`, "texture" or "both"."""
    if feature == "intensity":
        return (yield from framed_fractions(channels, sigma, spacing))
    framed = yield from subtask(framed_fractions(channels, 0, spacing), 0, 1, 10)
    intensities = framed[(slice(1, -1),) * (framed.ndim - 1)]
    return (
        yield from subtask(framed_texture(intensities, texture_radius, spacing, feature == "both", valid), 1, 9, 10)
    )


def framed_texture(
    intensities: np.ndarray,
    radius: int,
    spacing: tuple[float, ...] | None,
    with_intensity: bool,
    valid: np.ndarray | None = None,
) -> Job[np.ndarray]:
    """Measure the texture around each pixel of (…, C) intensities from 0 to 1, and add a frame of zeros.

    The energies of all channels are added up. `radius` is half the width of the window, in pixels along X.
    `with_intensity` puts the mean intensity of each channel before the texture; the root mean square difference of all
    features then counts both equally. The texture that varies most spans 1 from its 1st to its 99th percentile.
    Logarithms make the noise of weak and strong textures equal; the coarse scale has fewer independent pixels in a
    window and is weighed less.

    Sources: Laws 1980, doi:10.1117/12.959169 (energies); Hsiao & Sawchuk 1989, doi:10.1109/34.41366 (a window beside
    the pixel near borders).
    """
    shape, channels = intensities.shape[:-1], intensities.shape[-1]
    scales = sorted({FINE_SIGMA, max(FINE_SIGMA, COARSE_SHARE * radius)})
    per_scale = len(directions(len(shape)))
    means = channels if with_intensity else 0
    framed = np.zeros((*(size + 2 for size in shape), means + per_scale * len(scales)), np.float32)
    features = framed[(slice(1, -1),) * len(shape)]
    yield from subtask(_add_energies(features[..., means:], intensities, scales, spacing), 0, 3, 10)
    features[..., :means] = intensities[..., :means]
    yield from subtask(_average(features, WINDOW_SHARE * radius, spacing), 3, 4, 10)
    weights = np.repeat([(FINE_SIGMA / scale) ** 0.5 for scale in scales], per_scale)
    yield from subtask(_rescale(features[..., means:], weights, valid), 7, 1, 10)
    if with_intensity:
        features[..., :means] *= (features.shape[-1] / (2 * means)) ** 0.5
        features[..., means:] *= (features.shape[-1] / (2 * len(weights))) ** 0.5
    yield from subtask(_move_off_borders(features, radius, spacing), 8, 2, 10)
    return framed


def directions(ndim: int) -> np.ndarray:
    """Return unit vectors along the axes and to the corners of a pixel, one of each two opposite ones.

    Examples
    --------
    >>> directions(2).round(1)
    array([[ 1. ,  0. ],
           [ 0. ,  1. ],
           [ 0.7,  0.7],
           [ 0.7, -0.7]])
    """
    corners = [(1, *signs) for signs in product((1, -1), repeat=ndim - 1)]
    return np.concatenate([np.eye(ndim), np.array(corners) / ndim**0.5])


def _add_energies(
    energies: np.ndarray, intensities: np.ndarray, scales: list[float], spacing: tuple[float, ...] | None
) -> Job[None]:
    """Add the size of the derivative along each direction, at each scale, over all channels."""
    ndim, channels = intensities.ndim - 1, intensities.shape[-1]
    along = directions(ndim)
    rows = bands(len(energies), energies[0].size)
    for done, (number, channel) in enumerate(product(range(len(scales)), range(channels))):
        image = yield from subtask(
            smoothed(intensities[..., channel], scales[number], spacing), done, 0.5, len(scales) * channels
        )
        half_steps = [sigma / 2 for sigma in sigmas_px(scales[number], ndim, spacing)]
        at_scale = energies[..., number * len(along) : (number + 1) * len(along)]

        def add(band: slice, image=image, half_steps=half_steps, at_scale=at_scale) -> None:
            slopes = [
                half_step * (_shifted(image, band, axis, 1) - _shifted(image, band, axis, -1))
                for axis, half_step in enumerate(half_steps)
            ]
            for index, direction in enumerate(along):
                at_scale[band][..., index] += np.abs(
                    sum(float(share) * slope for share, slope in zip(direction, slopes, strict=True))
                )

        yield from subtask(in_threads(add, rows, "Measuring texture"), done + 0.5, 0.5, len(scales) * channels)


def _shifted(values: np.ndarray, band: slice, axis: int, step: int) -> np.ndarray:
    """Return the values of a band's pixels' neighbours, `step` pixels away along an axis or at the image's edge."""
    places = np.clip(np.arange(values.shape[axis]) + step, 0, values.shape[axis] - 1)
    return values[places[band]] if axis == 0 else values[band].take(places, axis=axis)


def _average(features: np.ndarray, sigma: float, spacing: tuple[float, ...] | None) -> Job[None]:
    """Replace each feature by its mean in a Gaussian window."""
    count = features.shape[-1]
    for index in range(count):
        mean = yield from subtask(smoothed(features[..., index], sigma, spacing), index, 1, count)
        features[..., index] = mean


def _rescale(energies: np.ndarray, weights: np.ndarray, valid: np.ndarray | None) -> Job[None]:
    """Replace energies by weighted logarithms; the widest range from the 1st to the 99th percentile becomes 1."""
    rows = bands(len(energies), energies[0].size)
    sums = yield from in_threads(lambda band: [row.sum(dtype=np.float64) for row in energies[band]], rows)
    floor = FLOOR * math.fsum(chain.from_iterable(sums)) / energies.size
    step = max(1, round((energies[..., 0].size / SAMPLE_PX) ** (1 / (energies.ndim - 1))))
    every = (slice(None, None, step),) * (energies.ndim - 1)
    sample = energies[every].reshape(-1, len(weights))
    if valid is not None and valid[every].any():
        sample = sample[valid[every].reshape(-1)]
    low, high = np.percentile(sample, (1, 99), axis=0)
    widest = np.log((high + floor) / (low + floor)).max() if floor else 0.0
    if not widest:
        energies[:] = 0
        return
    factors, inverse = (weights / widest).astype(np.float32), np.float32(1 / floor)

    def rescale(band: slice) -> None:
        energies[band] = factors * np.log1p(energies[band] * inverse)

    yield from in_threads(rescale, rows, "Measuring texture")


def _move_off_borders(features: np.ndarray, radius: int, spacing: tuple[float, ...] | None) -> Job[None]:
    """Give each pixel the features of the pixel around it whose features change least."""
    ndim = features.ndim - 1
    halves, moves = (
        [round(length) for length in sigmas_px(share * radius, ndim, spacing)] for share in (WINDOW_SHARE, MOVE_SHARE)
    )
    rows = bands(len(features), features[0].size)
    changes = yield from subtask(in_threads(partial(_changes, features, halves), rows, "Finding borders"), 0, 2, 6)
    change = yield from subtask(smoothed(np.concatenate(changes), WINDOW_SHARE * radius, spacing), 2, 1, 6)
    chosen = yield from subtask(in_threads(partial(_calmest, change, moves), rows, "Finding borders"), 3, 1, 6)
    for index in range(features.shape[-1]):
        column = features[..., index].reshape(-1)

        def move(item: tuple[slice, np.ndarray], column=column, index=index) -> None:
            features[item[0]][..., index] = column.take(item[1])

        moving = in_threads(move, list(zip(rows, chosen, strict=True)), "Finding borders")
        yield from subtask(moving, 4 + 2 * index / features.shape[-1], 2 / features.shape[-1], 6)


def _changes(features: np.ndarray, halves: list[int], band: slice) -> np.ndarray:
    """Return the squared change across each pixel of a band, added up over features and axes."""
    change = np.zeros(features[band].shape[:-1], np.float32)
    for axis, half in enumerate(halves):
        difference = _shifted(features, band, axis, half) - _shifted(features, band, axis, -half)
        for feature in np.moveaxis(difference, -1, 0):
            change += feature**2
    return change


def _calmest(change: np.ndarray, moves: list[int], band: slice) -> np.ndarray:
    """Return for each pixel of a band the flat position of the one around it that changes least; of equals itself."""
    places = [np.arange(length) for length in change.shape]
    places[0] = places[0][band]
    steps = sorted(product((-1, 0, 1), repeat=change.ndim), key=np.count_nonzero)
    least = np.full(change[band].shape, np.inf, np.float32)
    chosen = np.zeros(least.shape, np.int64)
    for step in steps:
        around = np.ix_(
            *(
                np.clip(place + sign * move, 0, length - 1)
                for place, sign, move, length in zip(places, step, moves, change.shape, strict=True)
            )
        )
        is_less = change[around] < least
        least[is_less] = change[around][is_less]
        chosen[is_less] = np.broadcast_to(np.ravel_multi_index(around, change.shape), least.shape)[is_less]
    return chosen
