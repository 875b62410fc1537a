"""The landscape that is flooded: heights, and the levels they are cut into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from napari_tessera.bands import bands, in_background, in_threads, widened
from napari_tessera.jobs import Job, part_of
from napari_tessera.labels import label_dtype, neighbourhood

LEVELS_PER_PX = 64
MOST_LEVELS = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Hills:
    """A landscape: heights, (Y, X) or (Z, Y, X) float32, in pixels along X if they are distances."""

    height: np.ndarray
    is_distance: bool


@dataclass(frozen=True)
class Ground:
    """What a flood needs, with a frame one pixel wide around it.

    Attributes
    ----------
    labels : array of int32 or int64, framed
        Minus the number of the connected region; 0 outside the foreground and on the frame.
    levels : array of uint16, framed
        0 is flooded first.
    floor : int
        Level at which hills begin: that of height 0 for distances, otherwise the lowest in the foreground.
    scale : float
        Levels per unit of height; 0 where all is level.
    """

    labels: np.ndarray
    levels: np.ndarray
    floor: int
    scale: float

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


def ground_of(hills: Hills, mask: np.ndarray, connectivity: int) -> Job[Ground]:
    """Cut the landscape into levels, and give the regions of the mask their numbers."""
    height = hills.height
    cut = bands(len(height), height[0].size)
    ranges = yield from part_of(in_threads(partial(_range_in, height, mask), cut, "Shaping landscape"), 0, 1, 3)
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    low = 0.0 if hills.is_distance else low
    numbering = in_background(partial(number_regions, mask, connectivity), "Shaping landscape")
    labels = yield from part_of(numbering, 1, 1, 3)
    levels = np.zeros(labels.shape, np.uint16)
    if not high > low:
        return Ground(labels, levels, 0, 0.0)
    scale = MOST_LEVELS / (high - low)
    scale = min(scale, LEVELS_PER_PX) if hills.is_distance else scale

    def cut_band(band: slice) -> None:
        depth = np.subtract(np.float32(high), height[band])
        depth *= np.float32(scale)
        np.clip(depth, 0, MOST_LEVELS, out=depth)
        without_frame(levels)[band] = depth

    yield from part_of(in_threads(cut_band, cut, "Shaping landscape"), 2, 1, 3)
    return Ground(labels, levels, int(scale * (high - low)), scale)


def _range_in(height: np.ndarray, mask: np.ndarray, band: slice) -> tuple[float, float]:
    """Lowest and highest height in the mask; +inf and -inf where it is empty."""
    part, inside = height[band], mask[band]
    return float(part.min(where=inside, initial=np.inf)), float(part.max(where=inside, initial=-np.inf))
