"""Small pictures of a part of an image, with the outlines of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils.colormaps import label_colormap

COLOURS = 50
FILL_SHARE = 0.3
"""How much of an object's colour lies over its pixels; its outline has the pure colour."""


def picture_of(layer: Image, part: np.ndarray, axes: str) -> np.ndarray:
    """Return a part of an image as the layer shows it: (Y, X, 3) uint8; of channels, the mean.

    Parameters
    ----------
    layer : napari.layers.Image
        For its contrast limits and gamma.
    part : array
        Of one plane.
    axes : str
        "YX", "YXC" or "CYX".
    """
    values = np.asarray(part, np.float32)
    if layer.rgb:
        colours = values[..., :3]
        return np.clip(colours if part.dtype == np.uint8 else colours * 255, 0, 255).astype(np.uint8)
    if "C" in axes:
        values = values.mean(axis=axes.index("C"))
    low, high = layer.contrast_limits
    shares = np.clip((values - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1) ** layer.gamma
    grey = np.nan_to_num(shares * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def fitted(pixels: np.ndarray, side_px: int) -> np.ndarray:
    """Scale a picture or labels to a longest side of `side_px`, without mixing pixels."""
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    rows, columns = (np.arange(max(1, round(side * scale))) / scale for side in (height, width))
    at = np.ix_(np.minimum(rows.astype(int), height - 1), np.minimum(columns.astype(int), width - 1))
    return pixels[at]


def outlined(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draw labels over a picture of their shape: each object in a colour of its own, its outline brightest."""
    colours = (255 * np.array(label_colormap(COLOURS).colors[1:, :3])).astype(np.float32)
    of_label = colours[(np.maximum(labels, 1) - 1) % len(colours)]
    share = np.where(labels > 0, FILL_SHARE, 0.0)
    share[_is_outline(labels)] = 1.0
    return (picture * (1 - share[..., None]) + of_label * share[..., None]).astype(np.uint8)


def _is_outline(labels: np.ndarray) -> Any:
    """Return which pixels of objects touch another label."""
    padded = np.pad(labels, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    others = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (labels > 0) & np.any([centre != each for each in others], axis=0)
