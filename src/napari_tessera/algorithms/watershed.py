"""Watershed on an elevation map: levels, peaks as markers, flooding, and merging of shallow basins (h-maxima).

Flooding from every peak and then merging basins over the highest passes gives the same objects as flooding from the
h-maxima, and needs no morphological reconstruction, which is by far the slowest step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from napari_tessera.algorithms.distance_transform import distance_to_background
from napari_tessera.algorithms.flooding import Seeds as FloodSeeds
from napari_tessera.algorithms.flooding import flood, flood_compactly, seeds_from, steps_to_neighbours
from napari_tessera.algorithms.jit import njit
from napari_tessera.algorithms.relabel import relabel
from napari_tessera.algorithms.seeded_growing import Seeds
from napari_tessera.core.jobs import Job, bands, in_background, in_threads, subtask
from napari_tessera.core.labels import label_dtype, neighbourhood
from napari_tessera.core.tiles import place_in, widened

LEVELS_PER_PX = 64
MOST_LEVELS = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Elevation:
    """An elevation map: heights, (Y, X) or (Z, Y, X) float32, in pixels along X if they are distances."""

    height: np.ndarray
    is_distance: bool


@dataclass(frozen=True)
class FloodInput:
    """Input of a flood, with a border of one pixel.

    `labels` are minus the number of the connected region, and 0 outside the foreground; `levels` are uint16, and 0 is
    flooded first. Hills begin at the level `floor`: of height 0 for distances, otherwise the lowest in the foreground.
    `scale` is in levels per unit of height, 0 if all heights are equal.
    """

    labels: np.ndarray
    levels: np.ndarray
    floor: int
    scale: float

    @property
    def inner(self) -> np.ndarray:
        """The labels without the border; a view."""
        return without_frame(self.labels)

    def flat_positions(self, positions: np.ndarray) -> np.ndarray:
        """Convert (N, ndim) positions in the image to positions in the flat arrays."""
        return np.ravel_multi_index(tuple(positions.T + 1), self.labels.shape)

    def levels_at(self, pixels: np.ndarray) -> np.ndarray:
        """Return 0 and the levels at N flat positions, (N + 1,): those of the background and of basins 1…N."""
        return np.append(0, self.levels.reshape(-1)[pixels]).astype(np.int64)


@dataclass(frozen=True)
class Settings:
    """Parameters of the method `watershed`, with the same names and meanings."""

    min_distance: float
    prominence: float
    compactness: float
    watershed_line: bool
    connectivity: int
    spacing: tuple[float, ...] | None


def elevation_map(kind: str, values: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...] | None) -> Job[Elevation]:
    """Return the elevation map of this kind, in which objects are hills."""
    if kind == "distance":
        return Elevation((yield from distance_to_background(mask, spacing)), is_distance=True)
    if kind == "gradient":
        return Elevation((yield from steepness(values, spacing)), is_distance=False)
    return Elevation(values, is_distance=False)


def split(
    hills: Elevation, mask: np.ndarray, markers: Seeds | None, settings: Settings, min_size: int
) -> Job[np.ndarray]:
    """Flood the mask from the markers, or from the peaks; return the final labels."""
    ground = yield from subtask(quantize(hills, mask, settings.connectivity), 0, 1, 10)
    if markers is None:
        positions = find_peaks(hills.height, ground.inner, settings.min_distance, settings.spacing)
        pixels = ground.flat_positions((yield from subtask(positions, 1, 2, 10)))
        numbers = np.arange(1, len(pixels) + 1)
    else:
        pixels, numbers = ground.flat_positions(markers.pixels.T), markers.owners + 1
    del hills
    owners = np.arange(int(numbers.max(initial=0)) + 1)
    is_flooded = markers is None and settings.prominence > 0
    if is_flooded:
        owners = yield from subtask(merged_peaks(ground, pixels, settings.connectivity, settings.prominence), 3, 4, 10)
    if is_flooded and (settings.compactness > 0 or settings.watershed_line):
        ground.labels[:] = number_regions(mask, settings.connectivity)
        is_flooded = False
    if not is_flooded:
        seeds = seeds_from(ground.labels, pixels, owners[numbers])
        yield from subtask(_flood(ground, seeds, settings), 7, 2, 10)
    return (yield from subtask(relabel(ground.inner, owners, min_size), 9, 1, 10))


def merged_peaks(ground: FloodInput, peaks: np.ndarray, connectivity: int, prominence: float) -> Job[np.ndarray]:
    """Flood from every peak and merge shallow basins; return the final basin of each basin."""
    depths = prominence * (ground.floor - ground.levels_at(peaks))
    return flooded_from(ground, peaks, connectivity, depths if prominence else None)


def flooded_from(
    ground: FloodInput, peaks: np.ndarray, connectivity: int, depths: np.ndarray | None = None
) -> Job[np.ndarray]:
    """Flood from every peak, and merge basins by their `depths` if given; return the final basin of each basin."""
    seeds = seeds_from(ground.labels, peaks, np.arange(1, len(peaks) + 1))
    yield from subtask(flood(ground.labels, ground.levels, seeds, connectivity), 0, 3, 4)
    if depths is None:
        return np.arange(len(peaks) + 1)
    steps = steps_to_neighbours(ground.levels.shape, connectivity)
    merging = merged_basins(ground.labels, ground.levels, ground.levels_at(peaks), steps, depths)
    return (yield from subtask(merging, 3, 1, 4))


def _flood(ground: FloodInput, seeds: FloodSeeds, settings: Settings) -> Job[None]:
    """Flood; for compactness, convert levels and distances to one scale first."""
    options = (settings.connectivity, settings.watershed_line)
    if settings.compactness == 0:
        return (yield from flood(ground.labels, ground.levels, seeds, *options))
    object_px = np.count_nonzero(ground.labels) / max(1, len(np.unique(seeds.labels)))
    width_px = object_px ** (1 / ground.labels.ndim)
    share = min(settings.compactness, 1 - 1e-6)  # 1 would divide by 0; so near to 1, only distance counts
    weight = share / (1 - share) * max(1, ground.floor) / width_px
    return (yield from flood_compactly(ground.labels, ground.levels, seeds, weight, *options, settings.spacing))


def merged_basins(
    labels: np.ndarray, levels: np.ndarray, peak_levels: np.ndarray, steps: np.ndarray, depths: np.ndarray
) -> Job[np.ndarray]:
    """Merge basins without a deep pass between them; return the number of the highest peak each was merged with.

    A peak of the basins 1…N in the framed `labels` stays separate if the pass to any higher peak is lower than it by
    more than `depths` levels, (N + 1,); level 0 is the highest. `steps` are the offsets of the neighbours in the flat
    array. (Grimaud 1992, A new measure of contrast: the dynamics, doi:10.1117/12.60650.)
    """
    flat_labels, flat_levels = labels.reshape(-1), levels.reshape(-1)
    ahead = steps[steps > 0]

    def passes_in(band: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # After the last pixels there is only the border, which is no basin.
        return _passes(flat_labels, flat_levels, ahead, band.start, min(band.stop, len(flat_labels) - int(ahead.max())))

    found = yield from in_threads(passes_in, bands(len(flat_labels), 1), "Merging basins")
    low, high, level = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(level, kind="stable")
    return _merge(low[order], high[order], level[order], peak_levels, depths)


@njit
def _passes(labels, levels, ahead, start, stop):
    """List pairs of neighbouring basins and the level of their pass, for every pair of pixels."""
    count = 0
    for pixel in range(start, stop):
        if labels[pixel] > 0:
            for step in ahead:
                count += labels[pixel + step] > 0 and labels[pixel + step] != labels[pixel]
    low, high = np.empty(count, labels.dtype), np.empty(count, labels.dtype)
    level = np.empty(count, levels.dtype)
    count = 0
    for pixel in range(start, stop):
        if labels[pixel] > 0:
            for step in ahead:
                here, there = labels[pixel], labels[pixel + step]
                if there > 0 and there != here:
                    low[count], high[count] = min(here, there), max(here, there)
                    level[count] = max(levels[pixel], levels[pixel + step])
                    count += 1
    return low, high, level


@njit
def _merge(low, high, level, peak_levels, depths):
    """Merge over the highest passes first; `parent` points to the basin with the highest peak."""
    parent = np.arange(len(peak_levels))
    for index in range(len(level)):
        first, second = find_root(parent, low[index]), find_root(parent, high[index])
        if first == second:
            continue
        if peak_levels[second] < peak_levels[first]:
            first, second = second, first
        if level[index] - peak_levels[second] <= depths[second]:
            parent[second] = first
    for basin in range(len(parent)):
        parent[basin] = find_root(parent, basin)
    return parent


@njit
def find_root(parent, basin):
    """Return the basin or region with which one was merged in the end, and shorten the way to it."""
    while parent[basin] != basin:
        parent[basin] = parent[parent[basin]]
        basin = parent[basin]
    return basin


def without_frame(framed: np.ndarray) -> np.ndarray:
    """Return the array without its border; a view."""
    return framed[(slice(1, -1),) * framed.ndim]


def number_regions(mask: np.ndarray, connectivity: int) -> np.ndarray:
    """Return the connected regions of the mask, each as minus its number, in an array with a border."""
    shape = tuple(length + 2 for length in mask.shape)
    labels = np.zeros(shape, label_dtype(int(np.prod(shape))))
    ndimage.label(mask, neighbourhood(mask.ndim, connectivity), output=without_frame(labels))
    np.negative(labels, out=labels)
    return labels


def steepness(values: np.ndarray, spacing: tuple[float, ...] | None) -> Job[np.ndarray]:
    """Return minus the length of the gradient: high in even areas, low at edges; float32."""
    steps = [1.0] * values.ndim if spacing is None else [step / spacing[-1] for step in spacing]
    result = np.zeros(values.shape, np.float32)

    def measure(band: slice) -> None:
        wide = widened((band,), (1,), values.shape[:1])
        core = place_in((band,), wide)
        for axis, step in enumerate(steps):
            if values.shape[axis] > 1:
                slope = np.gradient(values[wide], step, axis=axis) if values[wide].shape[axis] > 1 else np.zeros(1)
                result[band] += slope[core] ** 2
        np.negative(np.sqrt(result[band]), out=result[band])

    yield from in_threads(measure, bands(len(values), values[0].size), "Measuring gradient")
    return result


def quantize(hills: Elevation, mask: np.ndarray, connectivity: int) -> Job[FloodInput]:
    """Divide the elevation into levels, and number the regions of the mask."""
    height = hills.height
    cut = bands(len(height), height[0].size)
    ranges = yield from subtask(in_threads(partial(_range_in, height, mask), cut, "Shaping landscape"), 0, 1, 3)
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    low = 0.0 if hills.is_distance else low
    numbering = in_background(partial(number_regions, mask, connectivity), "Shaping landscape")
    labels = yield from subtask(numbering, 1, 1, 3)
    levels = np.zeros(labels.shape, np.uint16)
    if not high > low:
        return FloodInput(labels, levels, 0, 0.0)
    scale = MOST_LEVELS / (high - low)
    scale = min(scale, LEVELS_PER_PX) if hills.is_distance else scale

    def cut_band(band: slice) -> None:
        depth = np.subtract(np.float32(high), height[band])
        depth *= np.float32(scale)
        np.clip(depth, 0, MOST_LEVELS, out=depth)
        without_frame(levels)[band] = depth

    yield from subtask(in_threads(cut_band, cut, "Shaping landscape"), 2, 1, 3)
    return FloodInput(labels, levels, int(scale * (high - low)), scale)


def _range_in(height: np.ndarray, mask: np.ndarray, band: slice) -> tuple[float, float]:
    """Return the lowest and highest height in the mask; +inf and -inf if it is empty."""
    part, inside = height[band], mask[band]
    return float(part.min(where=inside, initial=np.inf)), float(part.max(where=inside, initial=-np.inf))


def offsets_within(radius: float, ndim: int, spacing: tuple[float, ...] | None) -> np.ndarray:
    """Return the (K, 3) z, y, x offsets within `radius` px of a pixel and all its direct neighbours, nearest first."""
    steps = np.ones(ndim) if spacing is None else np.array(spacing) / spacing[-1]
    reach = np.maximum(1, radius // steps).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, ndim)
    distance = np.sqrt(((grid * steps) ** 2).sum(1))
    near = (distance <= radius) | (np.abs(grid).max(1) <= 1)
    order = np.argsort(distance[near], kind="stable")[1:]  # the first is the pixel itself
    return np.pad(grid[near][order], ((0, 0), (3 - ndim, 0)))


def find_peaks(
    height: np.ndarray, regions: np.ndarray, min_distance: float, spacing: tuple[float, ...] | None = None
) -> Job[np.ndarray]:
    """Return the (N, ndim) positions, in raster order, of the highest pixels of their region within `min_distance`.

    The distance is in pixels along X; below 1, direct neighbours still count. Regions do not compete with each other,
    and 0 has no peaks. Of equal neighbours the first in raster order is the peak.
    """
    offsets = offsets_within(min_distance, height.ndim, spacing)
    shape = (1,) * (3 - height.ndim) + height.shape
    height, regions, ndim = height.reshape(shape), regions.reshape(shape), height.ndim

    def peaks_in(rows: slice) -> np.ndarray:
        return _peaks(height, regions, offsets, rows.start, rows.stop)

    found = yield from in_threads(peaks_in, bands(shape[0] * shape[1], shape[2]), "Finding markers")
    return np.concatenate(found)[:, 3 - ndim :]


@njit
def _peaks(height, regions, offsets, start, stop):
    """Find peaks in the rows from `start` to `stop`, counted through all planes."""
    rows, columns = height.shape[1:]
    found = [(0, 0, 0) for _ in range(0)]
    for row in range(start, stop):
        z, y = row // rows, row % rows
        for x in range(columns):
            if regions[z, y, x] != 0 and _is_peak(height, regions, offsets, z, y, x):
                found.append((z, y, x))
    positions = np.empty((len(found), 3), np.int64)
    for index, position in enumerate(found):
        positions[index, 0], positions[index, 1], positions[index, 2] = position
    return positions


@njit
def _is_peak(height, regions, offsets, z, y, x):
    depth, rows, columns = height.shape
    here = height[z, y, x]
    for index in range(len(offsets)):
        dz, dy, dx = offsets[index]
        oz, oy, ox = z + dz, y + dy, x + dx
        if not (0 <= oz < depth and 0 <= oy < rows and 0 <= ox < columns):
            continue
        other = height[oz, oy, ox]
        is_earlier = dz < 0 or (dz == 0 and (dy < 0 or (dy == 0 and dx < 0)))
        if (other > here or (other == here and is_earlier)) and regions[oz, oy, ox] == regions[z, y, x]:
            return False
    return True
