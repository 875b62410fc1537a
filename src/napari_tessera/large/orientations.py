"""Volumes with a network for planes, seen from three sides: what it says of each voxel is averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.jobs import Job, part_of
from napari_tessera.kernels.resampling import interpolated
from napari_tessera.large.predict import predict
from napari_tessera.large.rescale import network_grid
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
    size = network_grid(view.shape, view.factors(factor)).size
    total: Scores = {}
    for axis in AXES:
        job = _add_planes(network, view, axis, factor, how, size, total)
        yield from part_of(job, axis, 1, len(AXES))
    return total


def _add_planes(
    network: Network, view: View, axis: int, factor: float, how: Looking, size: tuple[int, ...], total: Scores
) -> Job[None]:
    """Add a third of what is said of the planes across `axis`."""
    depth = view.shape[axis]
    count = min(depth, size[axis])
    shown = np.round((np.arange(count) + 0.5) * (depth / count) - 0.5).astype(int)
    found: Scores = {}
    for done, index in enumerate(shown.tolist()):
        plane = view.plane(axis, index)
        factors = plane.factors(factor, view.spacing[-1])
        job = predict(network, plane.shape, plane.read, factors, tile_px=how.tile_px, averaging=how.averaging)
        scores = yield from part_of(job, done, 0.9, len(shown))
        for name in set(AVERAGED) & set(scores):
            empty = np.empty((len(scores[name]), count, *scores[name].shape[1:]), np.float32)
            found.setdefault(name, empty)[:, done] = scores[name]
    for name, values in found.items():
        whole = total.setdefault(name, np.zeros((len(values), *size), np.float32))
        for number, each in enumerate(values):
            turned = np.moveaxis(whole[number], axis, 0)  # a view
            turned += (yield from interpolated(each, turned.shape)) / np.float32(len(AXES))
