"""Segment a plane or a volume with a U-Net.

A network for planes segments volumes in two ways: plane by plane, linking objects that overlap; or along three axes,
averaging the scores of each voxel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.algorithms.relabel import relabel
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.overlaps import Overlaps, find_overlaps
from napari_tessera.inference.decode_unet import UNetOptions, make_output
from napari_tessera.inference.pixel_grid import Grid, NormalizedImage, interpolated
from napari_tessera.inference.scale_search import Scale, find_scale, predict_at, predict_or_reuse
from napari_tessera.inference.sliding_window import Scores, predict

if TYPE_CHECKING:
    from napari_tessera.inference.predictor import Network


AXES = (0, 1, 2)
AVERAGED = ("classes", "distance")
"""Heads whose scores mean the same from all sides."""


def predict_orthogonal(network: Network, view: NormalizedImage, factor: float, options: UNetOptions) -> Job[Scores]:
    """Predict the planes across z, y and x of a volume with a network for planes, and average.

    The scores (K, Z', Y', X') are on a grid whose voxels have equal sides; `factor` is its pixels per image pixel along
    X.
    """
    grid = view.grid_at(factor)
    total: Scores = {}
    for axis in AXES:
        job = _add_planes(network, view, grid, axis, options, total)
        yield from subtask(job, axis, 1, len(AXES))
    return total


def _add_planes(
    network: Network, view: NormalizedImage, grid: Grid, axis: int, options: UNetOptions, total: Scores
) -> Job[None]:
    """Add a third of the scores of the planes across `axis`: those of the grid, or of the image if it has fewer."""
    depth, count = view.shape[axis], min(view.shape[axis], grid.size[axis])
    wanted, shown = grid.image_places(axis), np.arange(depth)
    if count < depth:
        wanted, shown = np.arange(count), np.round(wanted).astype(int).clip(0, depth - 1)
    found: Scores = {}
    for done, index in enumerate(shown.tolist()):
        plane = view.plane(axis, index)
        seeing = predict(network, grid.across(axis), plane.read, tile_px=options.tile_px, augment=options.augment)
        scores = yield from subtask(seeing, done, 0.9, count)
        for name in set(AVERAGED) & set(scores):
            empty = np.empty((len(scores[name]), count, *scores[name].shape[1:]), np.float32)
            found.setdefault(name, empty)[:, done] = scores[name]
    for name, values in found.items():
        whole = total.setdefault(name, np.zeros((len(values), *grid.size), np.float32))
        for number, each in enumerate(values):
            turned = np.moveaxis(whole[number], axis, 0)  # a view
            at = [wanted, *map(np.arange, turned.shape[1:])]
            turned += (yield from interpolated(each, at)) / np.float32(len(AXES))


REACH = 2
"""How many planes back an object is looked for: it may have been missed in one."""


def stitch_planes(planes: np.ndarray, least_overlap: float, min_size: int = 0) -> Job[np.ndarray]:
    """Link the objects of neighbouring planes into objects of the volume.

    Each object continues the one of the plane before with which it has the largest share in common; no object is
    continued twice. Objects that end are searched again in one plane more, and the gap is filled with what both ends
    share.

    Parameters
    ----------
    planes : int32 array (Z, Y, X)
        Objects of each plane, 1…N or numbered in any way; 0 is background. It is overwritten.
    least_overlap : float
        Shared pixels over the pixels of both (intersection over union) from which on two are one. 0 means any overlap.
    min_size : int
        Objects of fewer voxels are dropped.
    """
    found, depth = 0, len(planes)
    for z in range(depth):
        linking = _link_plane(planes, z, least_overlap, found)
        found = yield from subtask(linking, 0.9 * z / depth, 0.9 / depth, 1)
    return (yield from subtask(relabel(planes, np.arange(found + 1), min_size), 0.9, 0.1, 1))


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
    """Where an object was missed in the plane before, put the pixels that the planes on both sides share of it."""
    before, after, missed = planes[z - 2], planes[z], planes[z - 1]
    is_gap = (missed == 0) & (before == after) & np.isin(after, numbers)
    missed[is_gap] = after[is_gap]


def segment(network: Network, view: NormalizedImage, options: UNetOptions) -> Job[np.ndarray]:
    """Find the scale, predict, and make the output; see `make_output`."""
    scale = yield from subtask(find_scale(network, view, options), 0, 1, 4)
    return (yield from subtask(segment_at(scale, network, view, options), 1, 3, 4))


def segment_at(scale: Scale[Scores], network: Network, view: NormalizedImage, options: UNetOptions) -> Job[np.ndarray]:
    """Make the output at a scale, from the scores that `find_scale` has of it if any."""
    factor = scale.factor
    if network.ndim == view.ndim:
        scores = yield from subtask(predict_or_reuse(scale, network, view, options), 0, 7, 10)
        return (yield from subtask(make_output(scores, network.header, options, view.grid_at(factor)), 7, 3, 10))
    if options.is_orthogonal:
        scores = yield from subtask(predict_orthogonal(network, view, factor, options), 1, 7, 10)
        return (yield from subtask(make_output(scores, network.header, options, view.grid_at(factor)), 8, 2, 10))
    planes = yield from subtask(_plane_by_plane(network, view, factor, options), 1, 8, 10)
    if options.output != "objects":
        return planes
    return (yield from subtask(stitch_planes(planes, options.least_overlap, options.min_size or 0), 9, 1, 10))


def _plane_by_plane(network: Network, view: NormalizedImage, factor: float, options: UNetOptions) -> Job[np.ndarray]:
    """Make the output of each plane, and stack it along z; objects are numbered plane by plane."""
    in_plane = options if options.min_size is None else replace(options, min_size=0)  # voxels are counted at the end
    result = np.empty(0)
    for z in range(view.shape[0]):
        plane = view.plane(0, z)
        scores = yield from subtask(predict_at(network, plane, factor, options), z, 0.8, view.shape[0])
        making = make_output(scores, network.header, in_plane, plane.grid_at(factor))
        made = yield from subtask(making, z + 0.8, 0.2, view.shape[0])
        if z == 0:
            result = np.empty((*made.shape[:-2], view.shape[0], *made.shape[-2:]), made.dtype)
        result[..., z, :, :] = made
    return result
