"""Criteria of region growing (fixed or adaptive tolerance, competition), and intensities scaled to 0…1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.algorithms.flooding import steps_to_neighbours
from napari_tessera.algorithms.gaussian import smoothed
from napari_tessera.algorithms.seeded_growing import FRAME, FREE, SLACK, Regions, Seeds, find_rivals, grow
from napari_tessera.core.checks import RGB_TO_LUMINANCE, to_grey
from napari_tessera.core.jobs import Job, Piece, Progress, in_threads, pieces, subtask
from napari_tessera.core.labels import chunks, label_dtype
from napari_tessera.core.overlaps import count_pairs, sum_pairs
from napari_tessera.core.rescale import Number, share_of_range

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


MOST_ROUNDS = 30
ACCEPTS_NOTHING = -1.0


@dataclass(frozen=True)
class Ground:
    """The framed image that regions grow over, with the seeds on it.

    The framed `labels` number the regions from 1 in the order of the seeds; `values` are (P, C) float32 from 0 to 1;
    `starts` and `owners` are the flat position of each seed pixel and its region; `count` is the number of seeds and
    one more; `steps` are the offsets of the neighbours in the flat array.
    """

    labels: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    owners: np.ndarray
    count: int
    steps: np.ndarray

    def seeded(self, limits: np.ndarray, largest: int, follows_mean: bool = False) -> Regions:
        """Return regions that have nothing but their seeds, and compare pixels with the mean of those."""
        return _regions_of(self.owners, self.values[self.starts], limits, largest, follows_mean)

    def grow(self, regions: Regions, starts: np.ndarray | None = None) -> Job[None]:
        """Let regions grow from these or all seed pixels."""
        return grow(
            self.labels.reshape(-1), self.values, self.starts if starts is None else starts, self.steps, regions
        )


def lay_out(values: np.ndarray, seeds: Seeds, connectivity: int, valid: np.ndarray | None = None) -> Ground:
    """Put seeds on a framed image, (Y + 2, X + 2, C) or (Z + 2, Y + 2, X + 2, C).

    Nothing grows where it is not valid.
    """
    shape = values.shape[:-1]
    labels = np.full(shape, FRAME, label_dtype(int(np.prod(shape))))
    labels[(slice(1, -1),) * len(shape)] = FREE if valid is None else np.where(valid, FREE, FRAME)
    starts = np.ravel_multi_index(tuple(seeds.pixels + 1), shape)
    owners = seeds.owners + 1
    labels.reshape(-1)[starts] = owners
    steps = steps_to_neighbours(shape, connectivity)
    return Ground(labels, values.reshape(-1, values.shape[-1]), starts, owners, len(seeds.numbers) + 1, steps)


def grow_once(ground: Ground, tolerance: float, largest: int, follows_mean: bool = False) -> Job[Regions]:
    """Take pixels that differ by at most `tolerance` from the mean of the seed, or of the region as it grows."""
    regions = ground.seeded(np.full(ground.count, tolerance + SLACK), largest, follows_mean)
    yield from ground.grow(regions)
    return regions


def grow_adaptively(ground: Ground, k: float, largest: int) -> Job[Regions]:
    """Take pixels within `k` standard deviations of the region's mean, as it is when the region stands still."""
    means, limits = yield from subtask(_find_bands(ground, k, largest), 0, 4, 5)
    yield from _clear(ground, np.ones(ground.count, bool))
    regions = ground.seeded(limits, largest)._replace(means=means)
    yield from subtask(ground.grow(regions), 4, 1, 5)
    return regions


def _find_bands(ground: Ground, k: float, largest: int) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Grow regions, measure them and grow them again, until every one keeps its size; return their means and limits.

    A region that stands still keeps its pixels while others move on. One that loses more than half of its pixels in one
    round was crowded out and moves no more: measured on what is left to it, it would accept ever less.
    """
    means, deviations = _surroundings(ground).measure()
    limits = k * deviations + SLACK
    is_moving = np.ones(ground.count, bool)
    sizes_before = np.zeros(ground.count, np.int64)
    for done in range(MOST_ROUNDS):
        regions = ground.seeded(np.where(is_moving, limits, ACCEPTS_NOTHING), largest)._replace(means=means)
        starts = ground.starts[is_moving[ground.owners]]
        yield from subtask(ground.grow(regions, starts), done, 1, MOST_ROUNDS)
        is_moving &= (regions.sizes != sizes_before) & (2 * regions.sizes >= sizes_before)
        if not is_moving.any():
            break
        new_means, deviations = regions.measure()
        means = np.where(is_moving[:, None], new_means, means)
        limits = np.where(is_moving, k * deviations + SLACK, limits)
        sizes_before = regions.sizes
        yield from _clear(ground, is_moving)
    return means, limits


def find_contests(ground: Ground, regions: Regions) -> Job[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return pairs of regions, and how many pixels of the first the second, next to them, would accept too."""
    flat = ground.labels.reshape(-1)
    found = [(flat[:0], flat[:0], np.empty(0, np.int64))]
    for part in chunks(flat.size):
        yield Progress(part.start, flat.size, "Finding out who owns what")
        rivals = find_rivals(flat, ground.values, ground.steps, regions.means, regions.limits, part.start, part.stop)
        contested = np.flatnonzero(rivals)
        found.append(count_pairs(flat[part][contested], rivals[contested]))
    return sum_pairs(*map(np.concatenate, zip(*found, strict=True)))


def _clear(ground: Ground, is_cleared: np.ndarray) -> Job[None]:
    """Take regions back to their seeds."""
    flat = ground.labels.reshape(-1)
    numbers = np.where(is_cleared, FREE, np.arange(ground.count)).astype(flat.dtype)
    for part in chunks(flat.size):
        yield Progress(part.start, flat.size, "Growing")
        flat[part] = np.where(flat[part] > 0, numbers[flat[part]], flat[part])
    flat[ground.starts] = ground.owners


def _surroundings(ground: Ground) -> Regions:
    """Return every seed with the pixels around it, because one pixel alone has no spread."""
    steps = np.append(0, steps_to_neighbours(ground.labels.shape, ground.labels.ndim))
    pixels = (ground.starts[:, None] + steps).reshape(-1)
    owners, pixels, _ = sum_pairs(np.repeat(ground.owners, len(steps)), pixels, np.ones(len(pixels), np.int64))
    is_inside = ground.labels.reshape(-1)[pixels] != FRAME
    owners, pixels = owners[is_inside], pixels[is_inside]
    return _regions_of(owners, ground.values[pixels], np.zeros(ground.count), 0)


def _regions_of(
    owners: np.ndarray, values: np.ndarray, limits: np.ndarray, largest: int, follows_mean: bool = False
) -> Regions:
    """Make regions of the pixels that `owners` have, with (K, C) `values`."""
    count, exact = len(limits), values.astype(np.float64)
    sizes = np.bincount(owners, minlength=count)
    sums = np.stack([np.bincount(owners, channel, count) for channel in exact.T], axis=1)
    squares = np.stack([np.bincount(owners, channel**2, count) for channel in exact.T], axis=1)
    return Regions(sums / np.maximum(sizes, 1)[:, None], limits, sizes, sums, squares, largest, follows_mean)
