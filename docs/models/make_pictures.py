"""Make the pictures of the cards of `cells` and `axon-myelin`: python make_pictures.py --data FOLDER.

FOLDER holds the sets (see docs/data.md). Each picture has pieces of images of `val`, and below them what the shipped
model found at default settings.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from imageio.v3 import imread, imwrite
from skimage.exposure import rescale_intensity
from skimage.segmentation import find_boundaries
from skimage.transform import resize

import napari_tessera as tessera

SIDE_PX, GAP_PX = 320, 6
IMAGES = Path(__file__).parents[1] / "images"
PIECES = {
    "cells": [
        ("phase_cells_usiigaci", 1, 420), ("yeast_phase", 0, 400), ("bacteria_fluo_ecoli", 0, 220),
        ("em_chloroplasts", 0, 500),
    ],
    "axon_myelin": [("em_axon_myelin", 0, 420), ("em_axon_myelin", 1, 420), ("em_axon_myelin", 2, 420)],
}  # fmt: skip
"""Of each picture: the set, which image of `val`, and the side of the piece from its middle, in pixels."""
COLOURS = np.array([[0, 0, 0], [230, 159, 0], [0, 158, 115], [204, 121, 167]])


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--models", nargs="*", choices=PIECES, default=list(PIECES))
    chosen = options.parse_args()
    for name in chosen.models:
        model = name.replace("_", "-")
        columns = [column(chosen.data / folder, number, side, model) for folder, number, side in PIECES[name]]
        imwrite(IMAGES / f"{name}.png", np.concatenate(columns, axis=1)[:, :-GAP_PX])


def column(folder, number, side, model):
    """Return a piece of an image above what a model found in it."""
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    image = imread(folder / "images" / rows[number]["name"])
    found = tessera.segment("unet", image, model=model, measure=False).labels
    top, left = ((length - side) // 2 if length > side else 0 for length in image.shape)
    piece = np.s_[top : top + side, left : left + side]
    scaled = rescale_intensity(image[piece].astype(float), tuple(np.percentile(image, (0.5, 99.8))), (0, 255))
    grey = np.repeat(resize(scaled, (SIDE_PX, SIDE_PX))[..., None], 3, axis=2)
    labels = resize(found[piece], (SIDE_PX, SIDE_PX), order=0, preserve_range=True, anti_aliasing=False).astype(int)
    drawn = grey.copy()
    if model == "axon-myelin":
        drawn[labels > 0] = 0.55 * grey[labels > 0] + 0.45 * COLOURS[labels[labels > 0]]
    else:
        drawn[find_boundaries(labels)] = COLOURS[1]
    both = np.concatenate([grey, np.full((GAP_PX, SIDE_PX, 3), 255), drawn]).astype(np.uint8)
    return np.pad(both, ((0, 0), (0, GAP_PX), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main()
