"""Turn a result into new napari layers, placed like the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_tessera.core.result import LabelImage, column_title
from napari_tessera.core.spatial import Matrix, Spatial
from napari_tessera.gui.layers.colors import colours_of_classes, colours_of_probability
from napari_tessera.gui.layers.read import RECORD, Placement

TOLD_FIRST = ("label", "class", "kind", "score")
"""Columns shown first for the object under the mouse: napari's status bar has room for a few only."""
CONTOUR_PX = 2
"""Segments fill the image; as outlines, they leave the classes below visible."""
CLASSES_OPACITY = 0.4
"""Classes cover the whole image, which stays visible below."""
MOST_OUTLINED_PX = 2048 * 2048
"""Planes with more pixels are shown filled: napari takes most of a second to outline one, and the window waits."""


def result_layer(image: LabelImage, placement: Placement, name: str, record: dict[str, Any], number: int = 0) -> Layer:
    """Make a new layer of labels, or of the probabilities of a class, placed like the image.

    It is safe to call this in a worker thread: the layer belongs to no viewer yet. `number` counts the images of the
    result: it selects the colour of a class, and labels after the first get the name of their image.
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
        labels.features = with_background(labels.features)
    return labels


def with_background(features: Any) -> Any:
    """Add a row for 0, the background, to show its name under the mouse."""
    import pandas as pd

    return pd.concat([pd.DataFrame({"index": [0], "class": ["background"]}), features], ignore_index=True)


def feature_table(image: LabelImage) -> Any:
    """Turn a result's table into napari features; the column "index" holds the label of each row."""
    import pandas as pd

    table, units = image.table, image.units
    if not table:
        return None
    names = sorted(table, key=lambda name: TOLD_FIRST.index(name) if name in TOLD_FIRST else len(TOLD_FIRST))
    titles = {name: column_title(name, units.get(name, "")) for name in names} | {"label": "index"}
    features = pd.DataFrame({titles[name]: table[name] for name in names})
    return features if features["index"].is_unique else one_row_per_label(features)


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
        "rotate": _array(spatial.rotate),
        "shear": _array(spatial.shear),
        "affine": _array(spatial.affine),
        "units": spatial.units,
        "axis_labels": spatial.axis_labels or None,
    }


def has_channel_axis(placement: Placement) -> bool:
    """Return whether labels need an axis of size one for channels that lie between other axes.

    napari aligns the last axes of its layers; without this axis, time would be on the slider of the channels.
    """
    return bool(placement.channel_size) and placement.full.axes.index("C") > 0


def spanning_channels(placement: Placement) -> Spatial:
    """Place labels with an axis of size one that spans all channels."""
    place_of_channels = placement.full.axes.index("C")
    size = placement.channel_size
    step = placement.full.scale[place_of_channels]
    scale, translate = list(placement.full.scale), list(placement.full.translate)
    scale[place_of_channels] = step * size
    translate[place_of_channels] += step * (size - 1) / 2
    return replace(placement.full, scale=tuple(scale), translate=tuple(translate))


def _array(matrix: Matrix | None) -> np.ndarray | None:
    return None if matrix is None else np.array(matrix)
