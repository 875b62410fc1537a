"""Score a nuclei model by modality: python bench_nuclei_unet.py --data FOLDER --model FILE [--split val].

FOLDER holds `index.csv`, `images/` and `labels/` (see docs/data.md). Everything runs with default settings, the same
for every image.
"""

import argparse
import csv
import os
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch

from napari_tessera.counts import count_objects
from napari_tessera.jobs import drive
from napari_tessera.large.instances import load_instances, segment_instances
from napari_tessera.metrics import THRESHOLDS
from napari_tessera.overlaps import find_overlaps

GOALS = {
    "fluorescence": {"AP 0.5": 0.90, "pooled": 0.88, "mAP": 0.65},
    "520×696": {"mAP": 0.79},
    "stained + brightfield": {"AP 0.5": 0.65},
}


def read_index(folder, split):
    with open(folder / "index.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def read_pair(folder, name):
    image = iio.imread(folder / "images" / f"{name}.png")
    labels = iio.imread(folder / "labels" / f"{name}.png").astype(np.int32)
    return (image[..., :3] if image.ndim == 3 else image), labels


def kinds(row):
    """Name the lines of the table in which an image counts."""
    size = f"{row['height']}×{row['width']}"
    if row["modality"] == "fluorescence":
        return ["fluorescence", size]
    return [row["modality"], "stained + brightfield"]


def score(counts):
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


def line(kind, counts):
    values = score(counts)
    goals = GOALS.get(kind, {})
    cells = []
    for name, value in values.items():
        mark = "" if name not in goals else (" ✓" if value >= goals[name] else f" < {goals[name]:.2f}")
        cells.append(f"{value:.3f}{mark}" if isinstance(value, float) else str(value))
    return f"| {kind} | {len(counts)} | " + " | ".join(cells) + " |"


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=os.environ.get("TESSERA_DATA"))
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--split", default="val", choices=["train", "val", "test"])
    options.add_argument("--flips", action="store_true")
    options.add_argument("--threads", type=int, default=2)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    model, found, seconds = load_instances(chosen.model), {}, 0.0
    for row in read_index(Path(chosen.data), chosen.split):
        image, truth = read_pair(Path(chosen.data), row["name"])
        start = time.perf_counter()
        labels = segment_instances(model, image, flips=chosen.flips)
        seconds += time.perf_counter() - start
        counts = count_objects(drive(find_overlaps(truth, labels)), THRESHOLDS)
        for kind in kinds(row):
            found.setdefault(kind, []).append(counts)
    print(f"{chosen.model.name}, split {chosen.split}, {seconds:.0f} s")
    print("| images | n | AP 0.5 | pooled | AP 0.75 | mAP | splits | merges |\n|---|---|---|---|---|---|---|---|")
    for kind in sorted(found):
        print(line(kind, found[kind]))


if __name__ == "__main__":
    main()
