"""Axes and a pixel size said by the user, instead of those that the file gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from napari_tessera.io.picture import Picture, Place, Reading, finish
from napari_tessera.io.units import unit_name
from napari_tessera.layout import Layout, check_spacing
from napari_tessera.spatial import SPATIAL_AXES


def with_pixel_size(picture: Picture, spacing: Sequence[float] | None, unit: str | None) -> Picture:
    """Return the picture with another pixel size along z, y, x (or one number for all), or another unit of it.

    Raises
    ------
    InputError
        If there is not one positive number per spatial axis.
    """
    spatial = picture.spatial
    layout = Layout(picture.axes)
    if spacing is not None:
        sizes = check_spacing(spacing[0] if len(spacing) == 1 else spacing, layout)
        by_axis = dict(zip(layout.space, sizes or (), strict=True))
        scale = tuple(by_axis.get(axis, size) for axis, size in zip(spatial.axes, spatial.scale, strict=True))
        spatial = replace(spatial, scale=scale)
    if unit is not None:
        named = unit_name(unit)
        units = tuple(
            named if axis in SPATIAL_AXES else old for axis, old in zip(spatial.axes, spatial.units, strict=True)
        )
        spatial = replace(spatial, units=units)
    return replace(picture, spatial=spatial)


def with_axes(picture: Picture, axes: str) -> Picture:
    """Return the picture with its axes renamed; an axis that becomes one of another kind loses its size."""
    if axes == picture.axes:
        return replace(picture, has_guessed_axes=False)
    spatial = picture.spatial
    entries = zip(spatial.axes, spatial.scale, spatial.translate, spatial.units, strict=True)
    places = {axis: Place(size, offset, unit) for axis, size, offset, unit in entries}
    return finish(Reading(picture.data, picture.axes, places, picture.notes), picture.name, picture.path, axes)
