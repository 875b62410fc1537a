"""Volumes with a network for planes, seen from three sides: what it says of each voxel is averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.grid import Grid
from napari_tessera.kernels.resampling import interpolated
from napari_tessera.large.predict import predict
from napari_tessera.large.seeing import Looking, Scores
from napari_tessera.large.view import View

if TYPE_CHECKING:
    from napari_tessera.nn.forward import Network

AXES = (0, 1, 2)
AVERAGED = ("classes", "distance")
"""Heads whose scores mean the same from all sides."""


def see_three_ways(network: Network, view: View, factor: float, how: Looking) -> Job[Scores]:
    """Predict the planes across z, y and x of a volume, and average.

    Parameters
    ----------
    network : Network
        For planes.
    view : View
        A volume.
    factor : float
        Network pixels per image pixel along X; along the other axes as many per length.
    how : Looking

    Returns
    -------
    dict of str to float32 array (K, Z', Y', X')
        On a grid whose voxels have equal sides.
    """
    grid = view.laid(factor)
    total: Scores = {}
    for axis in AXES:
        job = _add_planes(network, view, grid, axis, how, total)
        yield from part_of(job, axis, 1, len(AXES))
    return total


def _add_planes(network: Network, view: View, grid: Grid, axis: int, how: Looking, total: Scores) -> Job[None]:
    """Add a third of what is said of the planes across `axis`: those of the grid, or of the image if it has fewer."""
    depth, count = view.shape[axis], min(view.shape[axis], grid.size[axis])
    wanted, shown = grid.image_places(axis), np.arange(depth)
    if count < depth:
        wanted, shown = np.arange(count), np.round(wanted).astype(int).clip(0, depth - 1)
    found: Scores = {}
    for done, index in enumerate(shown.tolist()):
        plane = view.plane(axis, index)
        seeing = predict(network, grid.across(axis), plane.read, tile_px=how.tile_px, averaging=how.averaging)
        scores = yield from part_of(seeing, done, 0.9, count)
        for name in set(AVERAGED) & set(scores):
            empty = np.empty((len(scores[name]), count, *scores[name].shape[1:]), np.float32)
            found.setdefault(name, empty)[:, done] = scores[name]
    for name, values in found.items():
        whole = total.setdefault(name, np.zeros((len(values), *grid.size), np.float32))
        for number, each in enumerate(values):
            turned = np.moveaxis(whole[number], axis, 0)  # a view
            at = [wanted, *map(np.arange, turned.shape[1:])]
            turned += (yield from interpolated(each, at)) / np.float32(len(AXES))
