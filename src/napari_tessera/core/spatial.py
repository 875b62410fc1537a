"""`Spatial`, the placement of an array: pixel size, offset, rotation, units and axis names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

Matrix = tuple[tuple[float, ...], ...]

SPATIAL_AXES = "ZYX"
LONGEST_UNIT = 80
"""Characters."""
PIXEL = "pixel"
SHORT_UNITS = {"micrometer": "µm", "micron": "µm", "um": "µm", "nanometer": "nm", "millimeter": "mm", "pixel": "px"}


@dataclass(frozen=True)
class Spatial:
    """Placement of an array; every field has one entry per array axis (a channel axis is never among them).

    Attributes
    ----------
    axes : str
        One letter per axis, such as "ZYX".
    scale : tuple of float
        Size of a pixel along each axis.
    translate : tuple of float
        World position of the first pixel.
    units : tuple of str
        Unit of each axis; "pixel" where it is not known.
    rotate, shear : tuple of tuple of float or None
        (n, n) matrices as napari defines them.
    affine : tuple of tuple of float or None
        (n + 1, n + 1) matrix applied after the others.
    axis_labels : tuple of str
        The names a viewer shows; empty means the letters of `axes`.
    """

    axes: str
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    rotate: Matrix | None = None
    shear: Matrix | None = None
    affine: Matrix | None = None
    axis_labels: tuple[str, ...] = ()

    @classmethod
    def plain(cls, axes: str) -> Spatial:
        """Place an array with pixel size 1 at the origin."""
        return cls(axes, (1.0,) * len(axes), (0.0,) * len(axes), (PIXEL,) * len(axes))

    @classmethod
    def with_spacing(cls, axes: str, spacing: Sequence[float] | None, unit: str = PIXEL) -> Spatial:
        """Place an array with a pixel size for each spatial axis, in the order of `axes`."""
        plain = cls.plain(axes)
        if spacing is None:
            return plain
        size = dict(zip(spatial_axes(axes), spacing, strict=True))
        return replace(
            plain,
            scale=tuple(float(size.get(axis, 1.0)) for axis in axes),
            units=tuple(unit if axis in size else PIXEL for axis in axes),
        )

    @property
    def spacing(self) -> tuple[float, ...]:
        """Pixel size along the spatial axes only, in the order of `axes`."""
        return tuple(abs(size) for axis, size in zip(self.axes, self.scale, strict=True) if axis in SPATIAL_AXES)

    @property
    def unit(self) -> str:
        """Unit of the spatial axes, or "pixel" if they differ or are unknown."""
        units = {unit for axis, unit in zip(self.axes, self.units, strict=True) if axis in SPATIAL_AXES}
        return units.pop() if len(units) == 1 else PIXEL

    def without(self, axis: str) -> Spatial:
        """Remove one axis."""
        return self.reordered(self.axes.replace(axis, ""))

    def reordered(self, axes: str) -> Spatial:
        """Reorder the axes; those that `axes` lacks are removed."""
        order = [self.axes.index(axis) for axis in axes]
        return Spatial(
            axes,
            _picked(self.scale, order),
            _picked(self.translate, order),
            _picked(self.units, order),
            _picked_both(self.rotate, order),
            _picked_both(self.shear, order),
            _picked_both(self.affine, [*order, len(self.axes)]),
            _picked(self.axis_labels, order) if self.axis_labels else (),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {field.name: _listed(getattr(self, field.name)) for field in fields(self)}


def spatial_axes(axes: str) -> str:
    """Return the spatial letters of `axes`, in their order."""
    return "".join(axis for axis in axes if axis in SPATIAL_AXES)


def as_matrix(values: Any) -> Matrix:
    """Return a 2-D array as nested tuples of float."""
    return tuple(tuple(float(value) for value in row) for row in np.asarray(values))


def _picked(values: tuple[Any, ...], order: Sequence[int]) -> tuple[Any, ...]:
    return tuple(values[place] for place in order)


def _picked_both(matrix: Matrix | None, order: Sequence[int]) -> Matrix | None:
    return None if matrix is None else as_matrix(np.asarray(matrix)[np.ix_(order, order)])


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value
