"""From a result to new napari layers, placed as the image that the result came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_tessera.core.result import LabelImage
from napari_tessera.core.spatial import Matrix, Spatial
from napari_tessera.core.tables import column_title
from napari_tessera.gui.layers.colors import colours_of_classes, colours_of_probability
from napari_tessera.gui.layers.read import RECORD, Placement

TOLD_FIRST = ("label", "class", "kind", "score")
"""What matters most of an object under the mouse: napari's status bar has room for a few columns only."""
CONTOUR_PX = 2
"""Segments fill the image, so that only their outlines let the classes below be seen."""
CLASSES_OPACITY = 0.4
"""They cover the whole image, which is to be seen below."""
MOST_OUTLINED_PX = 2048 * 2048
"""Planes of more pixels are shown filled: napari takes most of a second to outline one, and holds the window."""


def result_layer(image: LabelImage, placement: Placement, name: str, record: dict[str, Any], number: int = 0) -> Layer:
    """Make a new layer from a result, placed as the image it came from: labels, or the probabilities of a class.

    It is safe to call this in a worker thread: the layer belongs to no viewer yet. `number` counts the images of the
    result: further labels are named after what they show, and each class has a colour of its own.
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
    """Make a new Labels layer from a result, placed as the image it came from."""
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
    """Add what is said of 0 under the mouse."""
    import pandas as pd

    return pd.concat([pd.DataFrame({"index": [0], "class": ["background"]}), features], ignore_index=True)


def feature_table(image: LabelImage) -> Any:
    """Turn a result's table into napari's features: a column "index" says which label a row describes."""
    import pandas as pd

    table, units = image.table, image.units
    if not table:
        return None
    names = sorted(table, key=lambda name: TOLD_FIRST.index(name) if name in TOLD_FIRST else len(TOLD_FIRST))
    titles = {name: column_title(name, units.get(name, "")) for name in names} | {"label": "index"}
    features = pd.DataFrame({titles[name]: table[name] for name in names})
    return features if features["index"].is_unique else one_row_per_label(features)


def one_row_per_label(features: Any) -> Any:
    """Put the rows of a label together, as those of a class that occurs in many frames: napari shows one of each.

    Pixels are added up; of the rest, what is the same in all rows of a label stays.
    """
    by_label = features.groupby("index", sort=False)
    alike = [name for name in features if name != "index" and by_label[name].nunique(dropna=False).max() == 1]
    joined = by_label[alike].first()
    if "num_pixels" in features:
        joined["num_pixels"] = by_label["num_pixels"].sum()
    return joined.reset_index()


def _placed(image: LabelImage, placement: Placement) -> tuple[np.ndarray, dict[str, Any]]:
    """Return an array with the axes of the image it came from, and where napari is to put it."""
    if has_channel_axis(placement):
        axis = placement.full.axes.index("C")
        return np.expand_dims(image.data, axis), placed_at(spanning_channels(placement))
    return image.data, placed_at(image.spatial)


def placed_at(spatial: Spatial) -> dict[str, Any]:
    """Say in napari's arguments where an array lies."""
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
    """Return whether labels keep an axis of size one for channels that stand between other axes.

    napari lines up the last axes of its layers, so that without it time would be shown on the channels' slider.
    """
    return bool(placement.channel_size) and placement.full.axes.index("C") > 0


def spanning_channels(placement: Placement) -> Spatial:
    """Place labels with an axis of size one for the channels, which spans all of them."""
    place_of_channels = placement.full.axes.index("C")
    size = placement.channel_size
    step = placement.full.scale[place_of_channels]
    scale, translate = list(placement.full.scale), list(placement.full.translate)
    scale[place_of_channels] = step * size
    translate[place_of_channels] += step * (size - 1) / 2
    return replace(placement.full, scale=tuple(scale), translate=tuple(translate))


def _array(matrix: Matrix | None) -> np.ndarray | None:
    return None if matrix is None else np.array(matrix)
