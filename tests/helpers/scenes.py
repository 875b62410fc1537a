"""Small pictures that every method can work on, and what each method needs beside the picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_tessera.core.method import Method
from napari_tessera.core.spec import Role


def blobs(ndim: int = 2, dtype: Any = np.uint8) -> np.ndarray:
    """Two bright boxes, one brighter than the other, on a dark noisy ground."""
    shape = (6, 20, 24)[-ndim:]
    image = np.random.default_rng(0).integers(8, 14, shape).astype(float)
    image[(..., slice(3, 9), slice(3, 10))] += 120
    image[(..., slice(11, 18), slice(12, 21))] += 200
    if ndim == 3:
        image[[0, -1]] = 10
    return image.astype(dtype) if np.dtype(dtype).kind != "b" else image > 60


def two_boxes(ndim: int = 2) -> np.ndarray:
    """The truth of `blobs`: label 1 and label 2."""
    labels = np.zeros((6, 20, 24)[-ndim:], np.int32)
    labels[(..., slice(3, 9), slice(3, 10))] = 1
    labels[(..., slice(11, 18), slice(12, 21))] = 2
    if ndim == 3:
        labels[[0, -1]] = 0
    return labels


def many_boxes() -> np.ndarray:
    """Twelve boxes of one brightness, (72, 96)."""
    one = np.full((24, 24), 10, np.uint8)
    one[4:20, 4:20] = 210
    return np.tile(one, (3, 4))


def main_input(method: Method, ndim: int = 2) -> np.ndarray:
    """The picture for a method on images, its truth for a method on labels."""
    return blobs(ndim) if method.takes_image else two_boxes(ndim)


def needed_inputs(method: Method, ndim: int = 2) -> dict[str, np.ndarray]:
    """What the method cannot do without: seeds in both boxes, or a second label image."""
    points = np.array([[2, 5, 5], [2, 14, 15]])[:, -ndim:]
    return {
        entry.name: points if entry.roles[0] is Role.POINTS else two_boxes(ndim)
        for entry in method.inputs[1:]
        if not entry.is_optional
    }
