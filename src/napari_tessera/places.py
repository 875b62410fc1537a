"""Where objects are, as their table says: counted from the first pixel of the whole image, whatever part was seen."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from napari_tessera.region import Crop
from napari_tessera.spec import Table

CORNERS = re.compile(r"([zyx]) (?:min|max) \(px\)|box_([zyx])[01]")
CENTROIDS = re.compile(r"([zyx]) \(.+\)")


def in_whole_image(table: Table, crop: Crop, spacing: Mapping[str, float]) -> Table:
    """Count the positions of a crop's objects from the whole image's first pixel; name the plane, where it is one.

    Parameters
    ----------
    table : dict of str to array
        Corners in pixels (``y min (px)``, ``box_y0``), centroids in the unit of `spacing` (``y (µm)``).
    crop : Crop
    spacing : mapping of str to float
        Size of a pixel along "Z", "Y" and "X"; 1 where it is not there.

    Returns
    -------
    dict of str to array
        With a column such as ``z`` for every axis along which the crop is a single plane.
    """
    if not table:
        return table
    starts: dict[str, int] = {}
    planes: Table = {}
    for axis, part in zip(crop.axes, crop.index, strict=True):
        if isinstance(part, int):
            planes[axis.lower()] = np.full(len(table["label"]), part)
        else:
            starts[axis] = part.start

    def moved(name: str, column: np.ndarray) -> np.ndarray:
        if corner := CORNERS.fullmatch(name):
            return column + starts[(corner[1] or corner[2]).upper()]
        if centroid := CENTROIDS.fullmatch(name):
            axis = centroid[1].upper()
            return column + starts[axis] * spacing.get(axis, 1.0)
        return column

    return {name: moved(name, column) for name, column in table.items()} | planes
