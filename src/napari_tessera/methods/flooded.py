"""From a landscape to labels: find markers, flood, merge, number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.jobs import Job, part_of
from napari_tessera.methods.basins import merged_basins
from napari_tessera.methods.compact_flooding import flood_compactly
from napari_tessera.methods.distance import distance_to_background
from napari_tessera.methods.flooding import Seeds, flood, seeds_from, steps_to_neighbours
from napari_tessera.methods.landscape import (
    LEVELS_PER_PX,
    Ground,
    cut_into_levels,
    finished_labels,
    number_regions,
    steepness,
)
from napari_tessera.methods.markers import find_peaks


@dataclass(frozen=True)
class Settings:
    """Parameters of the method `watershed`, with the same names and meaning."""

    min_distance: float
    prominence: float
    compactness: float
    watershed_line: bool
    connectivity: int
    spacing: tuple[float, ...] | None


def landscape_of(kind: str, values: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...] | None) -> Job[np.ndarray]:
    """Return heights, (Y, X) or (Z, Y, X) float32: objects are its hills."""
    if kind == "distance":
        return (yield from distance_to_background(mask, spacing))
    if kind == "gradient":
        return (yield from steepness(values, spacing))
    return values


def split(
    height: np.ndarray, mask: np.ndarray, markers: np.ndarray | None, settings: Settings, min_size: int
) -> Job[np.ndarray]:
    """Flood the mask from the markers, or from the hills of the landscape; return the finished labels."""
    per_unit = LEVELS_PER_PX if height.min() >= 0 else None
    levels = yield from part_of(cut_into_levels(height, mask, per_unit), 0, 1, 10)
    ground = Ground(number_regions(mask, settings.connectivity), levels)
    if markers is None:
        pixels = yield from part_of(_hills(ground, height, settings), 1, 2, 10)
        numbers = np.arange(1, len(pixels) + 1)
    else:
        pixels, numbers = _given(ground, markers)
    del height
    count = int(numbers.max(initial=0))
    owners = np.arange(count + 1)
    is_merging = markers is None and settings.prominence > 0
    if is_merging:
        yield from part_of(
            flood(ground.labels, levels, _seeds(ground, pixels, numbers), settings.connectivity), 3, 3, 10
        )
        peak_levels = np.append(0, levels.reshape(-1)[pixels]).astype(np.int64)
        steps = steps_to_neighbours(levels.shape, settings.connectivity)
        owners = yield from part_of(
            merged_basins(ground.labels, levels, peak_levels, steps, settings.prominence), 6, 1, 10
        )
    if not is_merging or settings.compactness > 0 or settings.watershed_line:
        if is_merging:
            ground = Ground(number_regions(mask, settings.connectivity), levels)
        seeds = _seeds(ground, pixels, owners[numbers])
        yield from part_of(_flood(ground, seeds, settings), 7, 2, 10)
    return (yield from part_of(finished_labels(ground.labels, owners, min_size), 9, 1, 10))


def _hills(ground: Ground, height: np.ndarray, settings: Settings) -> Job[np.ndarray]:
    positions = yield from find_peaks(height, ground.inner, settings.min_distance, settings.spacing)
    return ground.flat_positions(positions)


def _seeds(ground: Ground, pixels: np.ndarray, numbers: np.ndarray) -> Seeds:
    return seeds_from(ground.labels, pixels, numbers.astype(ground.labels.dtype))


def _given(ground: Ground, markers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat positions of the user's marker pixels, and the number of each."""
    if markers.shape == ground.inner.shape and markers.dtype.kind in "iu":
        positions = np.argwhere(markers > 0)
        _, numbers = np.unique(markers[markers > 0], return_inverse=True)
    else:
        positions = np.rint(markers).astype(np.int64)
        positions = np.clip(positions, 0, np.array(ground.inner.shape) - 1)
        positions, numbers = np.unique(positions, axis=0, return_index=True)
    return ground.flat_positions(positions), numbers + 1


def _flood(ground: Ground, seeds: Seeds, settings: Settings) -> Job[None]:
    """Flood with the parameters as they are; compactness puts levels and distances on one scale first."""
    options = (settings.connectivity, settings.watershed_line)
    if settings.compactness == 0:
        return (yield from flood(ground.labels, ground.levels, seeds, *options))
    depth = max(1, int(ground.levels.max(initial=0)))
    object_px = np.count_nonzero(ground.labels) / max(1, len(np.unique(seeds.labels)))
    width_px = object_px ** (1 / ground.labels.ndim)
    share = min(settings.compactness, 1 - 1e-9)  # 1 would divide by 0; this near, only distance counts
    weight = share / (1 - share) * depth / width_px
    return (yield from flood_compactly(ground.labels, ground.levels, seeds, weight, *options, settings.spacing))
