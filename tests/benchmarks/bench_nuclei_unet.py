"""Score a nuclei model by modality: python bench_nuclei_unet.py --data FOLDER [--split val] [--model NAME|PATH].

FOLDER holds nuclei/ (see docs/data.md). Everything runs through the method `unet` with
default settings, the same for every image. `--every 8` scores every eighth image only, for a quick look.
"""

import argparse
import csv
import time

import numpy as np
from nuclei import add_folder_option, image_and_truth

import napari_tessera as tessera
from napari_tessera.counts import count_objects
from napari_tessera.jobs import drive
from napari_tessera.metrics import THRESHOLDS
from napari_tessera.overlaps import find_overlaps

GOALS = {
    "fluorescence": {"AP 0.5": 0.90, "pooled": 0.88, "mAP": 0.65},
    "520×696": {"mAP": 0.79},
    "stained + brightfield": {"AP 0.5": 0.65},
}


def rows_of(data, split):
    with open(data / "nuclei" / "index.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


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


def segmented(image, settings):
    return tessera.unet(image, channel_axis=2 if image.ndim == 3 else None, **settings)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    add_folder_option(options)
    options.add_argument("--split", default="val", choices=["train", "val", "test"])
    options.add_argument("--model", help="the shipped one if not given")
    options.add_argument("--averaging", action="store_true")
    options.add_argument("--every", type=int, default=1, help="score one image in this many")
    chosen = options.parse_args()
    settings = {"averaging": chosen.averaging} | ({"model": chosen.model} if chosen.model else {})
    found, seconds = {}, 0.0
    for row in rows_of(chosen.data, chosen.split)[:: chosen.every]:
        image, truth = image_and_truth(chosen.data, row["name"])
        start = time.perf_counter()
        labels = segmented(image, settings)
        seconds += time.perf_counter() - start
        counts = count_objects(drive(find_overlaps(truth, labels)), THRESHOLDS)
        for kind in kinds(row):
            found.setdefault(kind, []).append(counts)
    print(f"{chosen.model or 'the shipped model'}, split {chosen.split}, {seconds:.0f} s")
    print("| images | n | AP 0.5 | pooled | AP 0.75 | mAP | splits | merges |\n|---|---|---|---|---|---|---|---|")
    for kind in sorted(found):
        print(line(kind, found[kind]))


if __name__ == "__main__":
    main()
