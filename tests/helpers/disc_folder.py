"""A folder of small images of discs, and trainings on it that last a second."""

from __future__ import annotations

import csv

import numpy as np
from PIL import Image

from napari_tessera.cli.main import main

QUICK = ["--steps", "4", "--widths", "4,8", "--patch", "32", "--batch", "1", "--validations", "2", "--threads", "1"]


def discs(seed, side=48):
    """Nine discs: uint8 image and uint16 labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    inside = ((y % 16 - 8) ** 2 + (x % 16 - 8) ** 2) < 30
    labels = np.where(inside, 1 + (y // 16) * 3 + x // 16, 0).astype(np.uint16)
    return np.clip(rng.normal(20, 3, inside.shape) + 150 * inside, 0, 255).astype(np.uint8), labels


def write_discs(path):
    """Write five images and their labels as PNG, with an index; return the folder."""
    rows = []
    for name in ("images", "labels"):
        (path / name).mkdir()
    for seed in range(5):
        image, labels = discs(seed)
        Image.fromarray(image).save(path / "images" / f"im{seed}.png")
        Image.fromarray(labels).save(path / "labels" / f"im{seed}.png")
        split = ("train", "train", "train", "val", "test")[seed]
        rows.append({"name": f"im{seed}", "split": split, "kind": "odd" if seed % 2 else "even"})
    with open(path / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def train(folder, *more, out="model.safetensors"):
    return main(["train", str(folder / "images"), str(folder / "labels"), "-o", str(folder / out), *QUICK, *more])


def weights_of(path):
    from napari_tessera.models.weights import read_tensors

    return {name: value.numpy() for name, value in read_tensors(path)[0].items()}


def same_weights(one, other):
    one, other = weights_of(one), weights_of(other)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
