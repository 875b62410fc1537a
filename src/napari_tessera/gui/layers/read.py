"""Read napari layers into plain arrays: data, position, axes, points and outlines, the plane shown."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import Dims, ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes

from napari_tessera.core.errors import InputError
from napari_tessera.core.spatial import Matrix, Spatial, as_matrix

RECORD = "tessera"
"""Key in a layer's metadata for the record of its run."""

ELLIPSE_VERTICES = 96
RUN = "tessera run"
"""Key in a result's metadata for the method of its widget and the image's identity in this session of napari."""
CHANNEL_NAMES = "channel_names"
"""Key in a layer's metadata for the names of its channels."""
COLOURS = ("red", "green", "blue", "opacity")


@dataclass(frozen=True)
class Placement:
    """Position and axes of a layer.

    `axes` has one letter for each axis of the layer's array, RGB included. `spatial` is without channels; `full` has
    the axis of channels, if there is one that is not RGB, and `channel_size` is its size, or 0.
    """

    axes: str
    spatial: Spatial
    full: Spatial
    channel_size: int = 0


def array_of(layer: Layer) -> Any:
    """Return a layer's array, which may be on disk; of a multiscale image, the finest level."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def camera_of(viewer: ViewerModel) -> Any:
    """Return the viewer's camera; napari 0.9 moved it into the scene."""
    return getattr(viewer, "scene", viewer).camera


def visible_span(layer: Layer, axis: int) -> slice:
    """Return the visible part of a layer along an axis; all of it if the layer was never drawn."""
    side = array_of(layer).shape[axis]
    low, high = (int(corner[axis]) for corner in layer.corner_pixels)
    return slice(max(low, 0), min(high + 1, side)) if high > low else slice(0, side)


def viewport_events(viewer: ViewerModel) -> tuple[Any, ...]:
    """Return the events that change the viewport."""
    camera, dims = camera_of(viewer), viewer.dims
    return (camera.events.zoom, camera.events.center, dims.events.point, dims.events.order, dims.events.ndisplay)


def is_rgb(layer: Layer) -> bool:
    """Return whether the last axis of the layer's array is red, green, blue."""
    return isinstance(layer, Image) and bool(layer.rgb)


def channel_names(layer: Layer | None, axes: str) -> tuple[str, ...]:
    """Return a name for each channel of a layer; empty if its axes have no channels."""
    if layer is None or "C" not in axes:
        return ()
    size = array_of(layer).shape[axes.index("C")]
    known = COLOURS[:size] if is_rgb(layer) else tuple(map(str, layer.metadata.get(CHANNEL_NAMES, ())))
    if len(known) != size or len(set(known)) != size:
        return tuple(f"channel {number}" for number in range(size))
    return known


def record_of(layer: Layer | None) -> dict[str, Any] | None:
    """Return the record of the run that made a layer, or None."""
    return None if layer is None else layer.metadata.get(RECORD)


def made_from(layer: Layer | None) -> str:
    """Return the identity of the layer from which a widget made a result in this session; "" if none did."""
    return "" if layer is None else layer.metadata.get(RUN, {}).get("image", "")


def has_kinds(layer: Layer | None) -> bool:
    """Return whether the labels of a layer are things and stuff, as numbers or as classes."""
    return isinstance(layer, Labels) and "kind" in layer.features


def is_panoptic(layer: Layer | None) -> bool:
    """Return whether a layer has the numbered things and stuff of a panoptic result, not one class per pixel."""
    return has_kinds(layer) and "taken" not in (record_of(layer) or {"taken": 0})


def numbers_of(layer: Layer, kind: str) -> np.ndarray:
    """Return the new number of each label of a panoptic result, 0 for the other kind.

    Things keep their numbers; stuff is numbered 1, 2, … as classes.
    """
    features = layer.features
    chosen = features["index"][features["kind"] == kind].to_numpy()
    numbers = np.zeros(int(features["index"].max()) + 1, np.int32)
    numbers[chosen] = chosen if kind == "thing" else np.arange(1, len(chosen) + 1)
    return numbers


def axis_names(layer: Layer) -> tuple[str, ...]:
    """Return the names of the layer's axes; empty if napari only numbered them."""
    counted = tuple(str(axis) for axis in range(-layer.ndim, 0))
    return () if tuple(layer.axis_labels) == counted else tuple(layer.axis_labels)


def short_unit(layer: Layer) -> str:
    """Return the unit of the layer's X axis as a suffix: "µm", or "px" if it has no unit."""
    unit = f"{layer.units[-1]:~}"
    return "px" if unit in ("pixel", "") else unit.replace("μ", "µ")


def place(layer: Layer, axes: str) -> Placement:
    """Read the position of a layer; `axes` names every axis of its array."""
    layer_axes = axes[:-1] if is_rgb(layer) else axes
    full = Spatial(
        layer_axes,
        tuple(map(float, layer.scale)),
        tuple(map(float, layer.translate)),
        tuple(str(unit) for unit in layer.units),
        as_matrix(layer.rotate),
        _shear_matrix(layer.shear, layer.ndim),
        as_matrix(layer.affine.affine_matrix),
        tuple(layer.axis_labels),
    )
    size = array_of(layer).shape[layer_axes.index("C")] if "C" in layer_axes else 0
    return Placement(axes, full.without("C"), full, size)


def labels_of(layer: Layer, axes: str) -> Any:
    """Return the labels (or points) of a layer for an image with `axes`, without an axis of size one for channels."""
    data, channel_axis = array_of(layer), axes.find("C")
    is_spanning = isinstance(layer, Labels) and data.ndim == len(axes) and "C" in axes and data.shape[channel_axis] == 1
    return data[(slice(None),) * channel_axis + (0,)] if is_spanning else data


def points_of(layer: Points, image: Layer, axes: str, shown: Sequence[float]) -> np.ndarray:
    """Return points in pixels of `image` with `axes`, one column for each axis of its labels.

    `shown` is the viewer's `dims.point`: points with fewer axes than the image lie on the plane shown.
    """
    missing = tuple(shown)[-image.ndim :][: max(image.ndim - layer.ndim, 0)]
    pixels = [image.world_to_data((*missing, *layer.data_to_world(point))) for point in layer.data]
    kept = [axis for axis, letter in enumerate(axes) if letter != "C"]
    return np.asarray(pixels, float).reshape(-1, image.ndim)[:, kept]


def outlines_of(shapes: Shapes, image: Layer, axes: str, selected_only: bool = False) -> tuple[np.ndarray, ...]:
    """Return drawn outlines in pixels of `image` with `axes`, each (N, 2) as y, x, without lines and paths."""
    columns = [axes.index("Y"), axes.index("X")]
    chosen = sorted(shapes.selected_data) if selected_only else range(len(shapes.data))
    outlines = []
    for number in chosen:
        kind = str(shapes.shape_type[number])
        if kind in ("line", "path"):
            continue
        corners = np.asarray(shapes.data[number], float)
        vertices = _ellipse(corners) if kind == "ellipse" else corners
        pixels = [np.asarray(image.world_to_data(shapes.data_to_world(vertex))) for vertex in vertices]
        outlines.append(np.array(pixels)[:, columns])
    return tuple(outlines)


def planes_shown(layer: Layer, axes: str, point: tuple[float, ...]) -> dict[str, int]:
    """Return the index of the plane shown at the viewer's `dims.point`, along each axis except Y, X and channels."""
    last = np.array(array_of(layer).shape[: layer.ndim]) - 1
    pixel = np.clip(np.rint(layer.world_to_data(point)), 0, last).astype(int)
    return {axis: int(index) for axis, index in zip(axes, pixel, strict=False) if axis not in "YXC"}


def corners_shown(layer: Layer, axes: str) -> np.ndarray:
    """Return the first and the last pixel of a layer that the canvas shows, (2, 2) as y, x, of the finest level."""
    columns = [axes.index("Y"), axes.index("X")]
    corners = layer.corner_pixels[:, columns]
    if getattr(layer, "multiscale", False):
        corners = corners * layer.downsample_factors[layer.data_level][columns]
    if not corners.any():  # nothing has been drawn yet
        plane = [array_of(layer).shape[column] for column in columns]
        return np.array([[0, 0], plane]) - [[0], [1]]
    return corners


def check_plane_shown(layer: Layer, axes: str, dims: Dims) -> None:
    """Raise InputError unless the viewer shows Y and X of a layer, not for example Z and X of a rolled volume."""
    letters = axes[:-1] if is_rgb(layer) else axes
    # A viewer aligns the last axes of its layers.
    names = [*dims.axis_labels[: dims.ndim - len(letters)], *letters]
    shown = [names[axis] for axis in sorted(dims.displayed)]
    if not {"Y", "X"} <= set(shown):
        raise InputError(
            f"The viewer shows the axes {' and '.join(shown)}, but {layer.name!r} is processed in planes of Y and X. "
            "Roll the axes back to show Y and X."
        )


def _shear_matrix(shear: np.ndarray, ndim: int) -> Matrix:
    if np.ndim(shear) == 2:
        return as_matrix(shear)
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, 1)] = shear
    return as_matrix(matrix)


def _ellipse(corners: np.ndarray) -> np.ndarray:
    """Return vertices of the ellipse in the box with these four corners, (N, D)."""
    centre = corners.mean(axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.linspace(0, 2 * np.pi, ELLIPSE_VERTICES, endpoint=False)[:, None]
    return centre + np.cos(angles) * first + np.sin(angles) * second


LETTERS = {
    **dict.fromkeys(("t", "time", "frame"), "T"),
    **dict.fromkeys(("z", "depth", "slice"), "Z"),
    **dict.fromkeys(("c", "ch", "channel"), "C"),
    **dict.fromkeys(("p", "position"), "P"),
    **{letter.lower(): letter for letter in "YXS"},
}
"""Names that viewers and file formats give to axes."""
LOOP_LETTERS = "TPSRQUVW"


def name_axes(ndim: int, is_rgb: bool, axis_labels: Sequence[str]) -> str | None:
    """Read axes such as "TYX" from the labels of `ndim` axes, and of RGB; None if the labels do not name every axis."""
    axes = "".join(_letter(label) for label in axis_labels)
    is_clear = len(axes) == ndim == len(set(axes)) and axes[-2:] == "YX" and not (is_rgb and "C" in axes)
    return axes + "C" * is_rgb if is_clear else None


def list_axes(
    ndim: int, is_rgb: bool, axis_labels: Sequence[str] = (), has_channels: bool = True
) -> list[tuple[str, str]]:
    """List the possible meanings of the axes of a layer with `ndim` axes besides RGB, the likeliest first.

    Each is a description, and one letter for each axis. Label images have no channels.

    Examples
    --------
    >>> list_axes(3, False)
    [('3-D volume', 'ZYX'), ('2-D, plane by plane', 'TYX'), ('2-D, channels: axis 0', 'CYX')]
    """
    named = name_axes(ndim, is_rgb, axis_labels)
    loop_letters = _loop_letters(ndim, axis_labels)
    channel_places = [None] if is_rgb or not has_channels else [None, *range(ndim - 2)]
    found = [named] if named is not None and (is_rgb or has_channels or "C" not in named) else []
    for channel_place, is_volume in itertools.product(channel_places, (True, False)):
        if (axes := _lettered(ndim, channel_place, is_volume, loop_letters)) is not None:
            found.append(axes + "C" * is_rgb)
    return [(describe_axes(axes, is_rgb), axes) for axes in dict.fromkeys(found)]


def describe_axes(axes: str, is_rgb: bool) -> str:
    """Describe how an image with these axes is processed."""
    has_loops = any(axis not in "ZYXC" for axis in axes)
    channels = f", channels: axis {axes.index('C')}" if "C" in axes and not is_rgb else ""
    if has_loops:
        return f"{'3-D, volume by volume' if 'Z' in axes else '2-D, plane by plane'}{channels}"
    if channels:
        return f"{'3-D' if 'Z' in axes else '2-D'}{channels}"
    return "3-D volume" if "Z" in axes else "2-D image"


def _letter(label: str) -> str:
    return LETTERS.get(label.strip().lower(), "")


def _loop_letters(ndim: int, axis_labels: Sequence[str]) -> list[str]:
    """Return one letter for each axis but the last two, from its label if that names a loop axis."""
    wanted = [_letter(label) for label in axis_labels[: ndim - 2]]
    wanted += [""] * (ndim - 2 - len(wanted))
    taken = {letter for letter in wanted if letter and letter in LOOP_LETTERS and wanted.count(letter) == 1}
    spare = (letter for letter in LOOP_LETTERS if letter not in taken)
    return [letter if letter in taken else next(spare) for letter in wanted]


def _lettered(ndim: int, channel_place: int | None, is_volume: bool, loop_letters: Sequence[str]) -> str | None:
    """Return the axes; Z of a volume is the last axis before Y and X that holds no channels."""
    letters = list(loop_letters)
    if channel_place is not None:
        letters[channel_place] = "C"
    if is_volume:
        free = [place for place in range(ndim - 2) if place != channel_place]
        if not free:
            return None
        letters[free[-1]] = "Z"
    return "".join(letters) + "YX"
