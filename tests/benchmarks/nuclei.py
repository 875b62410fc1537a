"""The nuclei images of BBBC038 (see `docs/data.md` for where they are and how they are laid out)."""

from __future__ import annotations

import csv
import os
from argparse import ArgumentParser
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from imageio.v3 import imread

import napari_tessera as tessera


def add_folder_option(parser: ArgumentParser) -> None:
    """Let the data's folder be given as an option, or by the variable TESSERA_DATA."""
    folder = os.environ.get("TESSERA_DATA")
    parser.add_argument("--data", type=Path, default=folder, required=not folder, help="folder that holds nuclei/")


def names(data: Path, split: str, modality: str = "fluorescence") -> list[str]:
    """Names of the images of a split, in the order of the index."""
    with open(data / "nuclei" / "index.csv", newline="") as file:
        return [row["name"] for row in csv.DictReader(file) if (row["split"], row["modality"]) == (split, modality)]


def image_and_truth(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one image, grey or RGB, and its labels."""
    folder = data / "nuclei"
    return imread(folder / "images" / f"{name}.png"), imread(folder / "labels" / f"{name}.png").astype(np.int32)


def score(truth: np.ndarray, labels: np.ndarray) -> tuple[int, int, int]:
    """TP, FP and FN at IoU 0.5."""
    found = tessera.evaluate(truth, labels, thresholds=(0.5,))
    return found["tp"]["0.50"], found["fp"]["0.50"], found["fn"]["0.50"]


def scores(data: Path, name: str, variants: Iterable[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """Score one image for each set of parameters of the watershed."""
    image, truth = image_and_truth(data, name)
    channels = {"channel_axis": 2} if image.ndim == 3 else {}
    return [score(truth, tessera.watershed(image, **channels, **parameters)) for parameters in variants]


def ap_of(counts: np.ndarray) -> tuple[float, float]:
    """AP of all objects pooled, and the mean of the images' APs, from (images, 3) TP, FP and FN."""
    pooled = counts.sum(0)
    return pooled[0] / max(1, pooled.sum()), float(np.mean(counts[:, 0] / np.maximum(1, counts.sum(1))))


def score_all(data: Path, images: list[str], variants: list[dict[str, Any]]) -> np.ndarray:
    """Score every image with every set of parameters; (images, variants, 3)."""
    with ProcessPoolExecutor() as pool:
        return np.array(list(pool.map(partial(scores, data, variants=variants), images, chunksize=4)))
