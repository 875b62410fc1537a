"""From a landscape to labels: find markers, flood, merge, number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.basins import merged_basins
from napari_tessera.kernels.flooding import Seeds, flood, seeds_from, steps_to_neighbours
from napari_tessera.kernels.landscape import Ground, Hills, ground_of, number_regions, steepness
from napari_tessera.kernels.markers import find_peaks
from napari_tessera.kernels.numbering import finished_labels
from napari_tessera.methods.compact_flooding import flood_compactly
from napari_tessera.methods.distance import distance_to_background


@dataclass(frozen=True)
class Settings:
    """Parameters of the method `watershed`, with the same names and meaning."""

    min_distance: float
    prominence: float
    compactness: float
    watershed_line: bool
    connectivity: int
    spacing: tuple[float, ...] | None


def hills_of(kind: str, values: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...] | None) -> Job[Hills]:
    """Return the landscape of the given kind, in which objects are hills."""
    if kind == "distance":
        return Hills((yield from distance_to_background(mask, spacing)), is_distance=True)
    if kind == "gradient":
        return Hills((yield from steepness(values, spacing)), is_distance=False)
    return Hills(values, is_distance=False)


def split(
    hills: Hills, mask: np.ndarray, markers: np.ndarray | None, settings: Settings, min_size: int
) -> Job[np.ndarray]:
    """Flood the mask from the markers, or from the tops of the hills; return the finished labels."""
    ground = yield from part_of(ground_of(hills, mask, settings.connectivity), 0, 1, 10)
    if markers is None:
        positions = find_peaks(hills.height, ground.inner, settings.min_distance, settings.spacing)
        pixels = ground.flat_positions((yield from part_of(positions, 1, 2, 10)))
        numbers = np.arange(1, len(pixels) + 1)
    else:
        pixels, numbers = _given(ground, markers)
    del hills
    owners = np.arange(int(numbers.max(initial=0)) + 1)
    is_flooded = markers is None and settings.prominence > 0
    if is_flooded:
        owners = yield from part_of(_owners(ground, pixels, settings), 3, 4, 10)
    if is_flooded and (settings.compactness > 0 or settings.watershed_line):
        ground.labels[:] = number_regions(mask, settings.connectivity)
        is_flooded = False
    if not is_flooded:
        seeds = seeds_from(ground.labels, pixels, owners[numbers])
        yield from part_of(_flood(ground, seeds, settings), 7, 2, 10)
    return (yield from part_of(finished_labels(ground.labels, owners, min_size), 9, 1, 10))


def _owners(ground: Ground, tops: np.ndarray, settings: Settings) -> Job[np.ndarray]:
    """Flood from every top, and say which top each basin belongs to after merging."""
    seeds = seeds_from(ground.labels, tops, np.arange(1, len(tops) + 1))
    yield from part_of(flood(ground.labels, ground.levels, seeds, settings.connectivity), 0, 3, 4)
    steps = steps_to_neighbours(ground.levels.shape, settings.connectivity)
    peak_levels = np.append(0, ground.levels.reshape(-1)[tops]).astype(np.int64)
    depths = settings.prominence * (ground.floor - peak_levels)
    merging = merged_basins(ground.labels, ground.levels, peak_levels, steps, depths)
    return (yield from part_of(merging, 3, 1, 4))


def _given(ground: Ground, markers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat positions of the user's marker pixels, and the number of each, from 1."""
    if markers.shape == ground.inner.shape and markers.dtype.kind in "iu":
        positions = np.argwhere(markers > 0)
        _, numbers = np.unique(markers[markers > 0], return_inverse=True)
    else:
        positions = np.clip(np.rint(markers), 0, np.array(ground.inner.shape) - 1).astype(np.int64)
        positions, numbers = np.unique(positions, axis=0, return_index=True)
    return ground.flat_positions(positions), numbers + 1


def _flood(ground: Ground, seeds: Seeds, settings: Settings) -> Job[None]:
    """Flood with the parameters as they are; compactness puts levels and distances on one scale first."""
    options = (settings.connectivity, settings.watershed_line)
    if settings.compactness == 0:
        return (yield from flood(ground.labels, ground.levels, seeds, *options))
    object_px = np.count_nonzero(ground.labels) / max(1, len(np.unique(seeds.labels)))
    width_px = object_px ** (1 / ground.labels.ndim)
    share = min(settings.compactness, 1 - 1e-6)  # 1 would divide by 0; this near, only distance counts
    weight = share / (1 - share) * max(1, ground.floor) / width_px
    return (yield from flood_compactly(ground.labels, ground.levels, seeds, weight, *options, settings.spacing))
