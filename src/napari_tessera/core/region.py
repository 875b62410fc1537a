"""Part of an image to segment: single planes, and the inside of drawn outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_tessera.core.errors import InputError, short
from napari_tessera.core.spatial import Layout

FARTHEST_PX = 2**40
"""Vertices farther from the image are moved to this distance."""


@dataclass(frozen=True)
class Region:
    """Part of an image.

    Attributes
    ----------
    planes : dict of str to int
        Axis letter to the one index to use, such as {"T": 3}. With one plane of Z, segmentation is in 2-D.
    polygons : tuple of array
        Outlines, each (N, 2) vertices as y, x in pixels; the region is their union. None means the whole plane.
    """

    planes: Mapping[str, int] = field(default_factory=dict)
    polygons: tuple[np.ndarray, ...] = ()

    def __post_init__(self) -> None:
        """Check the types; `resolve` checks the values against an image."""
        is_index = isinstance(self.planes, Mapping) and all(
            isinstance(axis, str) and isinstance(index, (int, np.integer)) for axis, index in self.planes.items()
        )
        if not is_index:
            raise InputError(f"The `planes` of a region are {short(self.planes)}, but they must be such as {{'T': 3}}.")
        if not isinstance(self.polygons, Sequence) or isinstance(self.polygons, str):
            raise InputError(
                f"The `polygons` of a region are {short(self.polygons)}, but they must be a tuple of arrays."
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {"planes": dict(self.planes), "polygons": [np.asarray(outline).tolist() for outline in self.polygons]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None) -> Region | None:
        """Read what `to_json` wrote; None stays None."""
        if record is None:
            return None
        outlines = tuple(np.asarray(outline, float) for outline in record.get("polygons", ()))
        return cls({axis: int(index) for axis, index in record.get("planes", {}).items()}, outlines)


@dataclass(frozen=True)
class Crop:
    """A region resolved on one image: what to cut out, and which of its pixels are inside."""

    axes: str  # of the image as given
    index: tuple[slice | int, ...]  # per axis of the image; an int removes the axis
    inside: np.ndarray | None  # (Y, X) bool of the crop; None if all of it is inside

    @property
    def kept_axes(self) -> str:
        """Axes of the crop."""
        return "".join(axis for axis, part in zip(self.axes, self.index, strict=True) if isinstance(part, slice))

    def index_for(self, axes: str) -> tuple[slice | int, ...]:
        """Index of an array that has only some of the image's axes."""
        return tuple(self.index[self.axes.index(axis)] for axis in axes)

    def points(self, points: np.ndarray, axes: str) -> np.ndarray:
        """Return the points inside the crop, in its coordinates."""
        keep = np.ones(len(points), bool)
        columns = []
        for column, part in enumerate(self.index_for(axes)):
            values = points[:, column]
            if isinstance(part, int):
                keep &= np.rint(values) == part
                continue
            keep &= (np.rint(values) >= part.start) & (np.rint(values) < part.stop)
            columns.append(values - part.start)
        return np.stack(columns, axis=1)[keep]


def resolve(region: Region, layout: Layout, shape: Sequence[int]) -> Crop:
    """Resolve a region on an image of `shape`; refuse planes and outlines outside the image."""
    size = dict(zip(layout.axes, shape, strict=True))
    index: dict[str, slice | int] = {axis: slice(0, size[axis]) for axis in layout.axes}
    for axis, plane in region.planes.items():
        if axis not in size or axis in "YXC":
            raise InputError(f"The region selects a plane of axis {axis!r}, but the image's axes are {layout.axes}.")
        if not 0 <= plane < size[axis]:
            raise InputError(f"The region selects plane {plane} of axis {axis}, which has 0 to {size[axis] - 1}.")
        index[axis] = int(plane)
    inside = None
    if region.polygons:
        from scipy import ndimage

        whole = draw_outlines(region.polygons, (size["Y"], size["X"]))
        index["Y"], index["X"] = ndimage.find_objects(whole.view(np.uint8))[0]
        inside = whole[index["Y"], index["X"]]
    return Crop(layout.axes, tuple(index[axis] for axis in layout.axes), inside)


def draw_outlines(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Fill outlines: (Y, X) bool, True inside any of them."""
    from skimage.draw import polygon

    inside = np.zeros(shape, bool)
    for outline in polygons:
        try:
            vertices = np.asarray(outline, float)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"An outline is {short(outline)}, but it needs rows of y, x.") from error
        if not np.isfinite(vertices).all():
            raise InputError("An outline has a vertex that is NaN or infinite. Draw it again.")
        vertices = np.clip(vertices, -FARTHEST_PX, FARTHEST_PX)
        if vertices.ndim != 2 or vertices.shape[1] != 2 or len(vertices) < 3:
            raise InputError(f"An outline has shape {vertices.shape}, but it needs at least 3 rows of y, x.")
        inside[polygon(vertices[:, 0], vertices[:, 1], shape)] = True
    if not inside.any():
        raise InputError("The drawn region lies outside the image or covers no pixel. Draw it over the image.")
    return inside
