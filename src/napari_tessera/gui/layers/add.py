"""Turn a result into new napari layers, placed like the image: labels, probabilities, bounding boxes, their colours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from napari.utils.colormaps import Colormap, CyclicLabelColormap
from napari.utils.colormaps.standardize_color import transform_color

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.result import PX, LabelImage, column_title
from napari_tessera.core.spatial import Spatial
from napari_tessera.gui.layers.read import RECORD, Placement, record_of

BACKGROUND = 1
BACKGROUND_COLOUR = "#6f7f95"
"""Muted, for results, where the background may cover most of the image."""
PAINTED_BACKGROUND_COLOUR = "#9a4dff"
"""For annotations: thin strokes must be visible on grey, on black and on white."""
CLASS_COLOURS = ("#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#56b4e9", "#0072b2")
"""Colours of Okabe and Ito, which colour-blind users can distinguish; the most different ones first."""
MOST_CLASSES = 50
PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
"""Attributes of a layer."""
SHOWN_FIRST = ("label", "class", "kind", "score")
"""Columns shown first for the object under the mouse: napari's status bar has room for a few only."""
MOST_MISSING_LABELS = 10_000
CONTOUR_PX = 2
"""Segments fill the image; as outlines, they leave the classes below visible."""
CLASSES_OPACITY = 0.4
"""Classes cover the whole image, which stays visible below."""
MOST_OUTLINED_PX = 2048 * 2048
"""Planes with more pixels are shown filled: napari takes most of a second to outline one, and the window waits."""


def result_layer(image: LabelImage, placement: Placement, name: str, record: dict[str, Any], number: int = 0) -> Layer:
    """Make a new layer of labels, or of the probabilities of a class, placed like the image; threads may call this.

    `number` counts the images of the result: it selects the colour of a class, and labels after the first get the name
    of their image.
    """
    if image.kind != "probabilities":
        if number:
            name, record = f"{name} · {image.name}", {**record, "taken": image.name}
        return labels_layer(image, placement, name, record)
    data, placed = _placed(image, placement)
    return Image(
        data,
        name=f"{name} · {image.name}",
        colormap=colours_of_probability(number),
        blending="additive",
        contrast_limits=(0, 1),
        metadata={RECORD: record},
        **placed,
    )


def labels_layer(image: LabelImage, placement: Placement, name: str, record: dict[str, Any]) -> Labels:
    """Make a new Labels layer from a result, placed like the image."""
    data, placed = _placed(image, placement)
    labels = Labels(data, name=name, features=feature_table(image), metadata={RECORD: record}, **placed)
    if image.kind == "segments" and np.prod(image.data.shape[-2:]) <= MOST_OUTLINED_PX:
        labels.contour = CONTOUR_PX
    if image.kind == "classes" and "kind" in image.table:  # whose first class is the background
        labels.colormap, labels.opacity = colours_of_classes(), CLASSES_OPACITY
    elif image.kind == "classes" and "class" in image.table:
        labels.colormap = colours_of_classes(has_background=False)
    return labels


def feature_table(image: LabelImage) -> Any:
    """Turn a result's table into napari features; the column "index" holds the label of each row."""
    import pandas as pd

    table, units = image.table, image.units
    if not table:
        return None
    names = sorted(table, key=lambda name: SHOWN_FIRST.index(name) if name in SHOWN_FIRST else len(SHOWN_FIRST))
    titles = {name: column_title(name, units.get(name, "")) for name in names} | {"label": "index"}
    features = pd.DataFrame({titles[name]: table[name] for name in names})
    features = features if features["index"].is_unique else one_row_per_label(features)
    return with_all_labels(features, int(np.prod(image.data.shape, dtype=float)))


def with_all_labels(features: Any, n_pixels: int) -> Any:
    """Add rows for the background and for missing labels: napari's table takes the place of a row for its label.

    `n_pixels` is the size of the image. If very many labels are missing, the rows stay as they are.
    """
    highest = int(features["index"].max()) if len(features) else 0
    if not 0 < highest <= MOST_MISSING_LABELS + len(features):
        return features
    rows = features.set_index("index").reindex(range(highest + 1))
    for name in rows:
        kind = features[name].dtype.kind
        if kind == "b":
            rows[name] = rows[name].eq(True)
        elif kind not in "iuf":
            rows[name] = rows[name].fillna("")
    if "num_pixels" in rows:
        rows.loc[0, "num_pixels"] = n_pixels - features["num_pixels"].sum()
        rows["num_pixels"] = rows["num_pixels"].fillna(0).astype(np.int64)
    if "class" in rows and not rows["class"].eq("background").any():
        rows.loc[0, "class"] = "background"
    return rows.rename_axis("index").reset_index()


def one_row_per_label(features: Any) -> Any:
    """Merge the rows of each label, such as a class that occurs in many frames: napari shows one row per label.

    Pixels are summed. Of the other columns, those with equal values in all rows of each label stay.
    """
    by_label = features.groupby("index", sort=False)
    alike = [name for name in features if name != "index" and by_label[name].nunique(dropna=False).max() == 1]
    joined = by_label[alike].first()
    if "num_pixels" in features:
        joined["num_pixels"] = by_label["num_pixels"].sum()
    return joined.reset_index()


def _placed(image: LabelImage, placement: Placement) -> tuple[np.ndarray, dict[str, Any]]:
    """Return an array with the axes of its image, and napari's arguments for its position."""
    if has_channel_axis(placement):
        axis = placement.full.axes.index("C")
        return np.expand_dims(image.data, axis), placed_at(spanning_channels(placement))
    return image.data, placed_at(image.spatial)


def placed_at(spatial: Spatial) -> dict[str, Any]:
    """Return napari's arguments for the position of an array."""
    return {
        "scale": spatial.scale,
        "translate": spatial.translate,
        "rotate": spatial.rotate and np.array(spatial.rotate),
        "shear": spatial.shear and np.array(spatial.shear),
        "affine": spatial.affine and np.array(spatial.affine),
        "units": spatial.units,
        "axis_labels": spatial.axis_labels or None,
    }


LayerData = tuple[Any, dict[str, Any], str]


def image_layer(image: Any, spatial: Spatial, axes: str, name: str) -> LayerData:
    """Return an image as a reader's layer; if its last axis is channels, they are colours."""
    is_rgb = axes.endswith("C")
    placed = placed_along(spatial, axes[:-1] if is_rgb else axes)
    return image, {"name": name, **({"rgb": True} if is_rgb else {}), **placed}, "image"


def placed_along(spatial: Spatial, axes: str) -> dict[str, Any]:
    """Return napari's arguments for the position along some axes; an axis of channels has a scale of 1."""
    at = {axis: place for place, axis in enumerate(spatial.axes)}
    return {
        "scale": [spatial.scale[at[axis]] if axis in at else 1.0 for axis in axes],
        "translate": [spatial.translate[at[axis]] if axis in at else 0.0 for axis in axes],
        "units": [spatial.units[at[axis]] if axis in at else "pixel" for axis in axes],
        "axis_labels": [axis.lower() for axis in axes],
    }


def has_channel_axis(placement: Placement) -> bool:
    """Return whether labels need an axis of size one for channels that lie between other axes.

    napari aligns the last axes of its layers; without this axis, time would be on the slider of the channels.
    """
    return bool(placement.channel_size) and placement.full.axes.index("C") > 0


def spanning_channels(placement: Placement) -> Spatial:
    """Place labels with an axis of size one that spans all channels."""
    full, axis, size = placement.full, placement.full.axes.index("C"), placement.channel_size
    scale, translate = list(full.scale), list(full.translate)
    scale[axis] *= size
    translate[axis] += full.scale[axis] * (size - 1) / 2
    return replace(full, scale=tuple(scale), translate=tuple(translate))


def colours_of_classes(has_background: bool = True) -> CyclicLabelColormap:
    """Return the colour of each class: muted for the background, distinct for the others.

    Class 1 is the background, as in annotations. With `has_background` False the background is 0, and class 1 is the
    one that annotations paint with 2. A direct colormap would make napari compile for seconds while the window waits.
    """
    of_classes = [CLASS_COLOURS[number % len(CLASS_COLOURS)] for number in range(MOST_CLASSES - 1)]
    background = [BACKGROUND_COLOUR] if has_background else []
    return CyclicLabelColormap(colors=["transparent", *background, *of_classes])


def colours_of_annotation() -> CyclicLabelColormap:
    """Return the colour of each class of an annotation, the background 1 included."""
    colours = colours_of_classes().colors.copy()
    colours[BACKGROUND] = transform_color(PAINTED_BACKGROUND_COLOUR)[0]
    return CyclicLabelColormap(colors=colours)


def colours_of_probability(number: int) -> Colormap:
    """Return a colormap for the probability of class `number`, from black to its colour; 0 follows the background."""
    colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
    return Colormap(["#000000", colour], name=f"class {colour}")


BOX_COLUMNS = tuple(column_title(f"box_{corner}", PX) for corner in ("y0", "x0", "y1", "x1"))
TO_CENTRE = -0.5
"""Boxes are measured from the edge of the first pixel, and a layer's coordinates from its centre."""
BOXES_AT_ONCE = 200
SHARE_OF_SIDE, THINNEST_PX = 0.04, 0.5
MOST_WITH_TEXT = 200
"""More texts in a plane are unreadable, and take napari seconds to draw."""
BOX_COLOURS = ("#f0e442", "#56b4e9", "#e69f00", "#cc79a7", "#009e73", "#d55e00")


def has_boxes(layer: Layer) -> bool:
    """Return whether a layer's table has boxes."""
    return isinstance(layer, Labels) and set(BOX_COLUMNS) <= set(layer.features) and len(_with_boxes(layer)) > 0


def _with_boxes(layer: Labels) -> Any:
    return layer.features.dropna(subset=list(BOX_COLUMNS)).reset_index(drop=True)


def boxes_layer(layer: Labels) -> Job[Shapes]:
    """Make a Shapes layer of the boxes of a layer's objects, without adding it to a viewer.

    In a volume, a box is drawn on every plane that it spans; in a time series, at its object's time.
    """
    features = _with_boxes(layer)
    rows, corners = [], []
    for row, rectangle in _rectangles(features.to_dict("list"), axes_of(layer)):
        rows.append(row)
        corners.append(rectangle)
    rectangles = np.array(corners)
    of_boxes = features.iloc[rows].reset_index(drop=True)
    sides = features[[*BOX_COLUMNS[2:]]].to_numpy() - features[[*BOX_COLUMNS[:2]]].to_numpy()
    looks = {"edge_width": max(SHARE_OF_SIDE * float(np.median(sides)), THINNEST_PX), "face_color": "transparent"}
    placed = {name: getattr(layer, name) for name in PLACE}
    boxes = Shapes(ndim=layer.ndim, name=f"{layer.name} · boxes", **placed)
    for start in range(0, len(rectangles), BOXES_AT_ONCE):
        yield Progress(start, len(rectangles), "Drawing the boxes")
        part = rectangles[start : start + BOXES_AT_ONCE]
        boxes.add(part, shape_type="rectangle", edge_color=BOX_COLOURS[0], **looks)
    boxes.features = of_boxes
    if "class" in of_boxes:
        boxes.edge_color_cycle = list(BOX_COLOURS)
        boxes.edge_color = "class"
    boxes.text = _text(of_boxes, rectangles)
    return boxes


def axes_of(layer: Labels) -> str:
    """Return one letter for each axis of a layer that Tessera made."""
    record = record_of(layer)
    axes = "ZYX"[-layer.ndim :] if record is None else str(record["axes"])
    return axes if len(axes) == layer.ndim else axes.replace("C", "")


def _rectangles(table: dict[str, list[Any]], axes: str) -> Iterator[tuple[int, list[list[float]]]]:
    """Yield the row and the four corners of each box, once for every plane that it spans."""
    for row, (top, left, bottom, right) in enumerate(zip(*(table[name] for name in BOX_COLUMNS), strict=True)):
        across = [_places(table, axis.lower(), row) for axis in axes[:-2]]
        plane = [[top, left], [top, right], [bottom, right], [bottom, left]]
        for before in itertools.product(*across):
            yield row, [[*before, y + TO_CENTRE, x + TO_CENTRE] for y, x in plane]


def _places(table: dict[str, list[Any]], axis: str, row: int) -> range:
    """Return the indices along an axis at which an object's box is drawn."""
    low, high = (column_title(f"box_{axis}{end}", PX) for end in (0, 1))
    if low in table:
        return range(int(table[low][row]), int(np.ceil(table[high][row])))
    place = int(table[axis][row]) if axis in table else 0
    return range(place, place + 1)


def _text(features: Any, rectangles: np.ndarray) -> dict[str, Any] | None:
    """Return class and score of each box as napari's text, hidden if a plane of the (N, 4, ndim) corners is full."""
    if not {"class", "score"} <= set(features):
        return None
    _, counts = np.unique(rectangles[:, 0, :-2], axis=0, return_counts=True)
    is_shown = bool(counts.max() <= MOST_WITH_TEXT)
    style = {"size": 8, "color": "white", "anchor": "upper_left", "visible": is_shown}
    return {"string": "{class} {score:.2f}", **style}
