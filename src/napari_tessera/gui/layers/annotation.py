"""New layers over an image, to paint on or for points; names and colours of the classes of an annotation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Points
from napari.utils.colormaps import CyclicLabelColormap, label_colormap
from napari.utils.colormaps.standardize_color import transform_color

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import middle
from napari_tessera.core.sparse_array import SparseArray
from napari_tessera.gui.layers.add import (
    BACKGROUND,
    MOST_CLASSES,
    PAINTED_BACKGROUND_COLOUR,
    PLACE,
    colours_of_annotation,
    has_channel_axis,
    placed_at,
    spanning_channels,
)
from napari_tessera.gui.layers.read import RECORD, array_of, labels_of, place

if TYPE_CHECKING:
    from napari_tessera.training.interactive import AnnotatedLayer

Task = Literal["objects", "classes"]
ANNOTATION = "tessera annotation"
"""Key in a layer's metadata for the meaning of its annotation."""
POINTED = "tessera pointed"
"""Key in a layer's metadata for how many objects were pointed at, in which image, and with which model."""
NOT_PAINTED = "not painted"
OBJECT_COLOURS = 253
"""With background and not painted, these fit into one byte; more would be slower to show."""
LARGEST_WHOLE_BYTES = 2**29
"""Larger layers are sparse: they take memory only where they are painted."""
LARGEST_PLANE_PX = 2**31
THINNEST_BRUSH_PX, THICKEST_BRUSH_PX = 2, 24
BRUSHES_ACROSS = 64
SMALLEST_POINT_PX = 2.0
POINTS_ACROSS = 50
POINT_COLOUR = "#f0e442"
LOOKED_AT_PX = 1024
NEW_LABELS = "Labels"
COMPLETE_OPACITY = 0.3
"""Where everything is painted, the image stays visible below."""


def new_annotation(
    viewer: ViewerModel, image_layer: Layer, axes: str, classes: Sequence[str] = (), task: Task = "classes"
) -> Labels:
    """Add an empty annotation layer of the image's shape without channels, with the brush ready.

    0 is not painted; `classes` names 1, 2 and so on, the background first. With the task "objects", each object has its
    own number, from 2 on. `axes` are those of the image's array. A plane that is too large raises InputError.
    """
    layer = viewer.add_layer(empty_annotation(image_layer, axes, classes, task))
    ready_brush(viewer, layer, BACKGROUND + 1)
    return layer


def ready_brush(viewer: ViewerModel, layer: Labels, number: int) -> None:
    """Make a layer the active one, with the brush of a number in hand."""
    viewer.layers.selection.active = layer
    layer.selected_label = number
    layer.mode = "paint"


def empty_annotation(image_layer: Layer, axes: str, classes: Sequence[str], task: Task) -> Labels:
    """Make an annotation layer without adding it to a viewer."""
    dtype = np.int32 if task == "objects" else np.uint8
    layer = empty_labels(image_layer, axes, f"{image_layer.name} · annotation", dtype)
    layer.metadata[ANNOTATION] = {"task": task, "image": image_layer.name}
    set_class_names(layer, classes)
    return layer


def empty_labels(image_layer: Layer, axes: str, name: str, dtype: Any = np.int32) -> Labels:
    """Make a labels layer to paint on, over an image, without adding it to a viewer."""
    placement = place(image_layer, axes)
    spatial = spanning_channels(placement) if has_channel_axis(placement) else placement.spatial
    sides = dict(zip(axes, array_of(image_layer).shape, strict=True))
    shape = [1 if axis == "C" else sides[axis] for axis in spatial.axes]
    layer = Labels(empty_paint(shape, dtype), name=name, **placed_at(spatial))
    layer.brush_size = fitting_brush_px((sides["Y"], sides["X"]))
    return layer


def fitting_brush_px(sides: Sequence[int]) -> int:
    """Return the width of a brush that suits a plane of these sides."""
    return int(np.clip(min(sides) // BRUSHES_ACROSS, THINNEST_BRUSH_PX, THICKEST_BRUSH_PX))


def empty_points(image: Layer, axes: str, name: str) -> Points:
    """Make a points layer without points that lies on an image, without adding it to a viewer.

    It has the image's axes; channels in front of the others are left out, so that points show on every channel.
    """
    placement = place(image, axes)
    spatial = placement.full if has_channel_axis(placement) else placement.spatial
    sides = dict(zip(axes, array_of(image).shape, strict=True))
    return Points(
        np.empty((0, len(spatial.axes))),
        ndim=len(spatial.axes),
        name=name,
        size=max(min(sides["Y"], sides["X"]) / POINTS_ACROSS, SMALLEST_POINT_PX),
        face_color=POINT_COLOUR,
        border_color="black",
        **placed_at(spatial),
    )


def empty_paint(shape: Sequence[int], dtype: Any) -> np.ndarray | SparseArray:
    """Return an array of zeros, a large one sparse; a plane that is too large to be shown raises InputError."""
    height, width = shape[-2:]
    if height * width > LARGEST_PLANE_PX:
        raise InputError(
            f"A plane of {height} × {width} px is too large to paint on: napari keeps the whole plane in memory. Crop "
            "the image to a part of it, and paint there."
        )
    if np.prod(shape, dtype=float) * np.dtype(dtype).itemsize <= LARGEST_WHOLE_BYTES:
        return np.zeros(shape, dtype)
    return SparseArray(shape, dtype)


def annotated_layer(image: Layer, annotation: Labels, axes: str) -> AnnotatedLayer:
    """Return the arrays of an image and its annotation; `axes` names every axis of the image's array."""
    from napari_tessera.training.interactive import AnnotatedLayer

    spacing = place(image, axes).spatial.spacing
    anisotropy = spacing[0] / spacing[-1] if "Z" in axes else 1.0
    return AnnotatedLayer(image.name, array_of(image), labels_of(annotation, axes), axes, anisotropy)


def annotation_of_labels(numbers: np.ndarray, highest: int, labels: Labels, image: Layer, task: Task) -> Labels:
    """Make an annotation layer from an array of annotation, placed like the labels that it was made from."""
    layer = Labels(
        numbers,
        name=f"{image.name} · annotation",
        opacity=COMPLETE_OPACITY,
        metadata={ANNOTATION: {"task": task, "image": image.name}},
        **{name: getattr(labels, name) for name in PLACE},
    )
    classes = [f"class {number}" for number in range(1, min(highest, MOST_CLASSES))]
    set_class_names(layer, ["background", *(classes if task == "classes" else ["object"])])
    return layer


def place_over(layer: Labels, image: Layer) -> None:
    """Move an annotation over an image of its shape, which it belongs to from now on."""
    layer.metadata[ANNOTATION] = {**annotation_facts(layer), "image": image.name}
    if layer.ndim == image.ndim:
        for name in PLACE:
            setattr(layer, name, getattr(image, name))


def is_annotation(layer: Layer) -> bool:
    """Return whether a layer was created as an annotation layer."""
    return ANNOTATION in layer.metadata


def annotation_facts(layer: Layer) -> dict[str, Any]:
    """Return what is known about an annotation layer: task, name of the image, classes; may be empty."""
    return dict(layer.metadata.get(ANNOTATION, {}))


def class_names(layer: Layer) -> list[str] | None:
    """Return the names of 1, 2 and so on, the background first; None if they have no names."""
    names = annotation_facts(layer).get("classes")
    return None if names is None else list(names)


def set_class_names(layer: Labels, names: Sequence[str]) -> None:
    """Name 1, 2 and so on, the background first; napari shows the name under the mouse. At most 50 have colours."""
    import pandas as pd

    named = [name.strip() for name in names] or ["background"]
    if len(named) > MOST_CLASSES:
        raise InputError(f"There are {len(named)} classes, and at most {MOST_CLASSES} can be told apart.")
    layer.metadata[ANNOTATION] = {**annotation_facts(layer), "classes": named}
    layer.features = pd.DataFrame({"index": range(len(named) + 1), "class": [NOT_PAINTED, *named]})
    is_objects = annotation_facts(layer).get("task") == "objects"
    layer.colormap = colours_of_objects() if is_objects else colours_of_annotation()


def colours_of_objects() -> CyclicLabelColormap:
    """Return a colour for each object, and that of annotations for the background."""
    colours = np.array(label_colormap(OBJECT_COLOURS).colors)
    colours[BACKGROUND] = transform_color(PAINTED_BACKGROUND_COLOUR)[0]
    return CyclicLabelColormap(colors=colours)


def is_empty(layer: Labels) -> bool:
    """Return whether nothing is painted on a layer in memory."""
    data = array_of(layer)
    return isinstance(data, np.ndarray) and not data.any()


def looks_complete(layer: Labels) -> bool:
    """Return whether the middle of a layer looks like full labels, with objects numbered from 1 on."""
    from napari_tessera.training.data.dataset import FEWEST_OTHERS, ones_in

    data = array_of(layer)
    part = middle(data.shape, (1,) * (data.ndim - 2) + (LOOKED_AT_PX, LOOKED_AT_PX))
    statistics = ones_in(np.asarray(data[part]).reshape([along.stop - along.start for along in part[-2:]]))
    return statistics.pieces == 1 and statistics.others >= FEWEST_OTHERS and not statistics.is_like_paint


def may_be_marks(layer: Layer, name: str) -> bool:
    """Return whether a layer may be chosen unasked as the seeds or markers `name`: no result, and no full labels.

    Labels have the name that the buttons of the widget give, or that napari gives to a new layer.
    """
    if RECORD in layer.metadata or is_annotation(layer):
        return False
    if not isinstance(layer, Labels) or name in layer.name.lower():
        return True
    return layer.name.startswith(NEW_LABELS) and not looks_complete(layer)
