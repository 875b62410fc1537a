"""The landscape that is flooded: heights, and the levels they are cut into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_tessera.bands import bands, in_threads, widened
from napari_tessera.jobs import Job, Progress
from napari_tessera.labels import label_dtype, neighbourhood

LEVELS_PER_PX = 64
MOST_LEVELS = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Ground:
    """What a flood needs, with a frame one pixel wide around it.

    Attributes
    ----------
    labels : array of int32 or int64, framed
        Minus the number of the connected region; 0 outside the foreground and on the frame.
    levels : array of uint16, framed
        0 is flooded first.
    """

    labels: np.ndarray
    levels: np.ndarray

    @property
    def inner(self) -> np.ndarray:
        """The labels without the frame; a view."""
        return without_frame(self.labels)

    def flat_positions(self, positions: np.ndarray) -> np.ndarray:
        """Turn (N, ndim) positions in the image into positions in the flat, framed arrays."""
        return np.ravel_multi_index(tuple(positions.T + 1), self.labels.shape)


def without_frame(framed: np.ndarray) -> np.ndarray:
    """Return the array without its one-pixel frame; a view."""
    return framed[(slice(1, -1),) * framed.ndim]


def number_regions(mask: np.ndarray, connectivity: int) -> np.ndarray:
    """Return the connected regions of the mask in a framed array, each as minus its number."""
    shape = tuple(length + 2 for length in mask.shape)
    labels = np.zeros(shape, label_dtype(int(np.prod(shape))))
    ndimage.label(mask, neighbourhood(mask.ndim, connectivity), output=without_frame(labels))
    np.negative(labels, out=labels)
    return labels


def steepness(values: np.ndarray, spacing: tuple[float, ...] | None) -> Job[np.ndarray]:
    """Return minus the length of the gradient: high where the image is even, low at edges; float32."""
    steps = [1.0] * values.ndim if spacing is None else [step / spacing[-1] for step in spacing]
    result = np.zeros(values.shape, np.float32)

    def measure(band: slice) -> None:
        wide, core = widened((band,), 1, values.shape[:1])
        for axis, step in enumerate(steps):
            if values.shape[axis] > 1:
                slope = np.gradient(values[wide], step, axis=axis) if values[wide].shape[axis] > 1 else np.zeros(1)
                result[band] += slope[core] ** 2
        np.negative(np.sqrt(result[band]), out=result[band])

    yield from in_threads(measure, bands(len(values), values[0].size), "Measuring gradient")
    return result


def cut_into_levels(height: np.ndarray, mask: np.ndarray, per_unit: float | None) -> Job[np.ndarray]:
    """Turn heights into levels, the highest pixel of the mask first, in a framed uint16 array.

    Parameters
    ----------
    height : array of float32
    mask : array of bool
    per_unit : float or None
        Levels per unit of height, fewer if there would be too many; None uses them all.
    """
    cut = bands(len(height), height[0].size)

    def range_in(band: slice) -> tuple[float, float]:
        inside = height[band][mask[band]]
        return float(inside.min(initial=np.inf)), float(inside.max(initial=-np.inf))

    ranges = yield from in_threads(range_in, cut, "Shaping landscape")
    lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
    levels = np.zeros(tuple(length + 2 for length in height.shape), np.uint16)
    if not highest > lowest:
        return levels
    scale = np.float32(min(MOST_LEVELS / (highest - lowest), per_unit or np.inf))

    def cut_band(band: slice) -> None:
        depth = np.subtract(np.float32(highest), height[band])
        depth *= scale
        np.clip(depth, 0, MOST_LEVELS, out=depth)
        without_frame(levels)[band] = depth

    yield from in_threads(cut_band, cut, "Shaping landscape")
    return levels


def finished_labels(framed: np.ndarray, owners: np.ndarray, min_size: int) -> Job[np.ndarray]:
    """Take the frame off, join labels, drop objects that are too small, and number the others in raster order.

    Parameters
    ----------
    framed : array of int
        Basins 1…N; 0 and below is background.
    owners : (N + 1,) array of int
        Object that each basin belongs to.
    min_size : int
        Smallest object to keep, in pixels.
    """
    from napari_tessera.methods.numbering import count_pixels, number_seen, write_numbers

    inner = without_frame(framed)
    shape = (1,) * (3 - inner.ndim) + inner.shape
    volume = inner.reshape(shape)  # (Z, Y, X)
    rows = bands(shape[0] * shape[1], shape[2])
    found = yield from in_threads(lambda part: count_pixels(volume, owners, part.start, part.stop), rows, "Numbering")
    numbers = np.where(sum(found) < max(1, min_size), -1, 0).astype(framed.dtype)
    count = 0
    for part in rows:
        yield Progress(part.start, rows[-1].stop, "Numbering")
        count = number_seen(volume, owners, numbers, count, part.start, part.stop)
    result = np.empty(shape, framed.dtype)
    final = np.maximum(numbers, 0)[owners]
    yield from in_threads(lambda part: write_numbers(volume, final, result, part.start, part.stop), rows, "Numbering")
    return result.reshape(inner.shape).astype(label_dtype(count), copy=False)
