"""Scores of nuclei images by modality and size, as a table."""

from __future__ import annotations

import csv
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from nuclei import add_folder_option, image_and_truth

from napari_tessera.core.jobs import run_job
from napari_tessera.core.overlaps import find_overlaps
from napari_tessera.metrics.segmentation import THRESHOLDS, ObjectCounts, count_objects

Goals = Mapping[str, Mapping[str, float]]
"""By kind of image and name of the score."""


def options(description: str) -> ArgumentParser:
    """Say what every such benchmark takes."""
    parser = ArgumentParser(description=description)
    add_folder_option(parser)
    parser.add_argument("--split", default="val", choices=["train", "val", "test"])
    parser.add_argument("--model", help="the shipped one if not given")
    parser.add_argument("--every", type=int, default=1, help="score one image in this many")
    return parser


def print_table(chosen: Namespace, segmented: Callable[[np.ndarray], np.ndarray], goals: Goals) -> None:
    """Segment the images of a split, and print their scores beside the goals."""
    found: dict[str, list[ObjectCounts]] = {}
    seconds = 0.0
    for row in rows_of(chosen.data, chosen.split)[:: chosen.every]:
        image, truth = image_and_truth(chosen.data, row["name"])
        start = time.perf_counter()
        labels = segmented(image)
        seconds += time.perf_counter() - start
        counts = count_objects(run_job(find_overlaps(truth, labels)), THRESHOLDS)
        for kind in kinds(row):
            found.setdefault(kind, []).append(counts)
    print(f"{chosen.model or 'the shipped model'}, split {chosen.split}, {seconds:.0f} s")
    print("| images | n | AP 0.5 | pooled | AP 0.75 | mAP | splits | merges |\n|---|---|---|---|---|---|---|---|")
    for kind in sorted(found):
        print(line(kind, found[kind], goals))


def rows_of(data: Path, split: str) -> list[dict[str, str]]:
    """Read the lines of a split from the index."""
    with open(data / "nuclei" / "index.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def kinds(row: Mapping[str, str]) -> list[str]:
    """Name the lines of the table in which an image counts."""
    size = f"{row['height']}×{row['width']}"
    if row["modality"] == "fluorescence":
        return ["fluorescence", size]
    return [row["modality"], "stained + brightfield"]


def score(counts: list[ObjectCounts]) -> dict[str, float]:
    """Average over the images, or pool all objects."""
    images = [each.scores() for each in counts]
    pooled = sum(counts[1:], start=counts[0]).scores()
    return {
        "AP 0.5": np.mean([each["ap"]["0.50"] for each in images]),
        "pooled": pooled["ap"]["0.50"],
        "AP 0.75": np.mean([each["ap"]["0.75"] for each in images]),
        "mAP": np.mean([each["map"] for each in images]),
        "splits": pooled["splits"],
        "merges": pooled["merges"],
    }


def line(kind: str, counts: list[ObjectCounts], goals: Goals) -> str:
    """Write one line of the table; a goal is ticked, or named where it is missed."""
    cells = []
    for name, value in score(counts).items():
        goal = goals.get(kind, {}).get(name)
        mark = "" if goal is None else (" ✓" if value >= goal else f" < {goal:.2f}")
        cells.append(f"{value:.3f}{mark}" if isinstance(value, float) else str(value))
    return f"| {kind} | {len(counts)} | " + " | ".join(cells) + " |"
