"""Volumes with a network for planes, one plane after the other; objects are linked where they overlap."""

from __future__ import annotations

import numpy as np

from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.kernels.numbering import numbered
from napari_tessera.overlaps import Overlaps, find_overlaps

REACH = 2
"""How many planes back an object is looked for: it may have been missed in one."""


def stitch_planes(planes: np.ndarray, least_overlap: float, min_size: int = 0) -> Job[np.ndarray]:
    """Link the objects of neighbouring planes into objects of the volume.

    Each object continues the one of the plane before with which it has the largest share in common; no object is
    continued twice. Objects that end are looked for again in one plane more, and the gap is filled with what both
    ends share.

    Parameters
    ----------
    planes : int32 array (Z, Y, X)
        Objects of each plane, 1…N or numbered in any way; 0 is background. It is overwritten.
    least_overlap : float
        Shared pixels over the pixels of both (intersection over union) from which on two are one. 0 means any overlap.
    min_size : int
        Objects of fewer voxels are dropped.

    Returns
    -------
    int32 array (Z, Y, X)
        Numbered in raster order.
    """
    found, depth = 0, len(planes)
    for z in range(depth):
        linking = _link_plane(planes, z, least_overlap, found)
        found = yield from part_of(linking, 0.9 * z / depth, 0.9 / depth, 1)
    return (yield from part_of(numbered(planes, np.arange(found + 1), min_size), 0.9, 0.1, 1))


def _link_plane(planes: np.ndarray, z: int, least_overlap: float, found: int) -> Job[int]:
    """Give the objects of one plane their numbers in the volume; return how many numbers are given by then."""
    plane = planes[z]
    numbers = np.zeros(int(plane.max(initial=0)) + 1, plane.dtype)
    gaps = []
    for back in range(1, min(REACH, z) + 1):
        before = planes[z - back]
        # What went on to a later plane, or has been linked to this one already, is taken.
        taken = np.concatenate([numbers, *(np.unique(planes[z - near]) for near in range(1, back))])
        overlaps = yield from find_overlaps(before, plane)
        for earlier, here in _best_pairs(overlaps, least_overlap, taken, numbers):
            numbers[here] = earlier
            gaps += [earlier] if back > 1 else []
    is_new = np.bincount(plane.reshape(-1), minlength=len(numbers)) > 0
    is_new &= numbers == 0
    is_new[0] = False
    numbers[is_new] = np.arange(found + 1, found + 1 + np.count_nonzero(is_new))
    yield Progress(1, 1, "Linking planes")
    plane[...] = numbers[plane]
    if gaps:
        _fill_gaps(planes, z, np.array(gaps))
    return found + int(np.count_nonzero(is_new))


def _best_pairs(
    overlaps: Overlaps, least_overlap: float, taken: np.ndarray, numbers: np.ndarray
) -> list[tuple[int, int]]:
    """Pair objects of two planes, the best pair first, each object once."""
    pairs = []
    earlier, here = overlaps.truth[overlaps.rows], overlaps.prediction[overlaps.columns]
    used, linked = set(taken.tolist()), set(np.flatnonzero(numbers).tolist())
    for pair in np.argsort(-overlaps.iou, kind="stable").tolist():
        first, second = int(earlier[pair]), int(here[pair])
        if overlaps.iou[pair] < least_overlap:
            break
        if first not in used and second not in linked:
            used.add(first)
            linked.add(second)
            pairs.append((first, second))
    return pairs


def _fill_gaps(planes: np.ndarray, z: int, numbers: np.ndarray) -> None:
    """Where an object was missed in the plane before, put what the planes on both sides share of it."""
    before, after, missed = planes[z - 2], planes[z], planes[z - 1]
    is_gap = (missed == 0) & (before == after) & np.isin(after, numbers)
    missed[is_gap] = after[is_gap]
