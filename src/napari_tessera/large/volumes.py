"""Segment what a network is shown: a plane or a volume at once, or a volume with a network for planes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.jobs import Job, part_of
from napari_tessera.large.instances import Wanted, make_output
from napari_tessera.large.orientations import see_three_ways
from napari_tessera.large.planes import stitch_planes
from napari_tessera.large.seeing import Looking, Scores, find_scale, predicted, seen_at
from napari_tessera.large.view import View

if TYPE_CHECKING:
    from napari_tessera.nn.forward import Network


@dataclass(frozen=True)
class Stacking:
    """How a network for planes segments a volume.

    Attributes
    ----------
    is_three_ways : bool
        Average what it says of the planes across z, y and x; otherwise the planes across z are linked.
    least_overlap : float
        Intersection over union from which on objects of neighbouring planes are linked.
    """

    is_three_ways: bool = False
    least_overlap: float = 0.25


def segment(network: Network, view: View, how: Looking, wanted: Wanted, stacking: Stacking) -> Job[np.ndarray]:
    """Find the scale, predict, and make what is wanted; see `make_output` for what that is."""
    sight = yield from part_of(find_scale(network, view, how), 0, 1, 4)
    return (yield from part_of(segment_at(*sight, network, view, how, wanted, stacking), 1, 3, 4))


def segment_at(
    factor: float,
    seen: Scores | None,
    network: Network,
    view: View,
    how: Looking,
    wanted: Wanted,
    stacking: Stacking,
) -> Job[np.ndarray]:
    """Make what is wanted at a scale, and from what was seen at it, both as `find_scale` says."""
    if network.ndim == view.ndim:
        scores = yield from part_of(seen_at(factor, seen, network, view, how), 0, 7, 10)
        return (yield from part_of(make_output(scores, network.header, wanted, view.laid(factor)), 7, 3, 10))
    if stacking.is_three_ways:
        scores = yield from part_of(see_three_ways(network, view, factor, how), 1, 7, 10)
        return (yield from part_of(make_output(scores, network.header, wanted, view.laid(factor)), 8, 2, 10))
    planes = yield from part_of(_plane_by_plane(network, view, factor, how, wanted), 1, 8, 10)
    if wanted.output != "objects":
        return planes
    return (yield from part_of(stitch_planes(planes, stacking.least_overlap, wanted.min_size or 0), 9, 1, 10))


def _plane_by_plane(network: Network, view: View, factor: float, how: Looking, wanted: Wanted) -> Job[np.ndarray]:
    """Make what is wanted of each plane, and stack it along z; objects are numbered plane by plane."""
    in_plane = wanted if wanted.min_size is None else replace(wanted, min_size=0)  # voxels are counted at the end
    result = np.empty(0)
    for z in range(view.shape[0]):
        plane = view.plane(0, z)
        scores = yield from part_of(predicted(network, plane, factor, how), z, 0.8, view.shape[0])
        making = make_output(scores, network.header, in_plane, plane.laid(factor))
        made = yield from part_of(making, z + 0.8, 0.2, view.shape[0])
        if z == 0:
            result = np.empty((*made.shape[:-2], view.shape[0], *made.shape[-2:]), made.dtype)
        result[..., z, :, :] = made
    return result
