"""Examples from a folder of images and labels listed in an index, and their clean-up."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_fill_holes, find_objects

from napari_tessera.train.patches import Example
from napari_tessera.train.targets import BACKGROUND, NOT_PAINTED

Row = dict[str, str]
GroupOf = Callable[[Row, np.ndarray], str]
ENCLOSED_SHARE = 0.2
"""An object that encloses others of more than this share of its own area is an outline, not an object."""


def read_index(folder: Path, split: str) -> list[Row]:
    """Read the rows of ``index.csv`` that belong to a split."""
    with open(folder / "index.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def read_example(folder: Path, row: Row, group_of: GroupOf) -> Example:
    """Read ``images/NAME.png`` and ``labels/NAME.png`` (0 background, 1… objects, all painted)."""
    image = np.asarray(Image.open(folder / "images" / f"{row['name']}.png"))
    image = image[..., :3] if image.ndim == 3 else image
    labels = np.asarray(Image.open(folder / "labels" / f"{row['name']}.png")).astype(np.int32)
    return Example(image, painted_objects(labels), group_of(row, image), row["name"])


def painted_objects(labels: np.ndarray) -> np.ndarray:
    """Turn full labels into paint: 1 background, 2… objects; outlines around other objects count as not painted.

    Parameters
    ----------
    labels : int32 array (Y, X)
        0 background, 1… objects.

    Returns
    -------
    int32 array (Y, X)
        0 not painted, 1 background, 2… objects.
    """
    painted = labels + BACKGROUND
    for number, window in enumerate(find_objects(labels), start=1):
        if window is None:
            continue
        own = labels[window] == number
        hole = binary_fill_holes(own) & ~own
        if (labels[window][hole] > 0).sum() > ENCLOSED_SHARE * own.sum():
            painted[window][own] = NOT_PAINTED
    return painted
