"""A few painted nuclei: python bench_few_nuclei.py --data FOLDER [--minutes 2.5] [--set NAME=VALUE].

FOLDER holds nuclei/ (see docs/data.md). Of the stained images to validate on, those of the size on which the shipped
model does worst are a kind. In two of them ten nuclei are painted, and the background close to them; the model learns
further, and is scored on the other images of this kind, and on all others, before and after.
"""

import argparse
import csv
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from bench_membrane_scribbles import as_value
from nuclei import add_folder_option, image_and_truth, score
from scipy.ndimage import binary_dilation

import napari_tessera as tessera

MODEL = "nuclei-unet"
PAINTED_IMAGES, PAINTED_NUCLEI, AROUND_PX = 2, 10, 8
FEWEST_IMAGES = 4


def rows_of(data, split="val"):
    with open(Path(data) / "nuclei" / "index.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def ap(data, row, model):
    """AP at IoU 0.5 of one image, as a user would get it."""
    image, truth = image_and_truth(data, row["name"])
    hits, extra, missed = score(truth, tessera.unet(image, model=model, channel_axis=2 if image.ndim == 3 else None))
    return hits / max(1, hits + extra + missed)


def mean_ap(data, rows, model):
    return float(np.mean([ap(data, row, model) for row in rows]))


def worst_kind(data, rows):
    """Return the images of the size on which the model does worst, the worst first, and all others."""
    by_size = defaultdict(list)
    for row in rows:
        if row["modality"] == "stained":
            by_size[row["height"], row["width"]].append((ap(data, row, MODEL), row["name"], row))
    kinds = [sorted(each, key=lambda found: found[:2]) for each in by_size.values() if len(each) >= FEWEST_IMAGES]
    worst = min(kinds, key=lambda kind: np.mean([found[0] for found in kind]))
    own = [row for _, _, row in worst]
    return own, [row for row in rows if row not in own]


def paint(truth, rng):
    """Paint ten nuclei, and the background close to them."""
    numbers = rng.permutation(np.unique(truth[truth > 0]))[:PAINTED_NUCLEI]
    chosen = np.isin(truth, numbers)
    painted = np.where(chosen, truth + 1, 0)
    painted[binary_dilation(chosen, iterations=AROUND_PX) & (truth == 0)] = 1
    return painted


def main():
    options = argparse.ArgumentParser(description=__doc__)
    add_folder_option(options)
    options.add_argument("--minutes", type=float, default=2.5)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--every", type=int, default=8, help="score every so many of the other images")
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    chosen = options.parse_args()
    settings = {name: as_value(value) for name, value in (each.split("=", 1) for each in chosen.set)}
    own, others = worst_kind(chosen.data, rows_of(chosen.data))
    others = others[:: chosen.every]
    rng = np.random.default_rng(chosen.seed)
    pairs = [image_and_truth(chosen.data, row["name"]) for row in own[:PAINTED_IMAGES]]
    length = {} if "steps" in settings else {"minutes": chosen.minutes}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        trained = tessera.fine_tune(
            [image for image, _ in pairs], [paint(truth, rng) for _, truth in pairs],
            Path(folder) / "tuned.safetensors", **length | settings,
        )  # fmt: skip
        print(f"{trained.header['training']['steps']} steps, {time.perf_counter() - start:.0f} s")
        print("| AP@0.5 | images | before | after |\n| --- | --- | --- | --- |")
        for name, rows in (("this kind", own[PAINTED_IMAGES:]), ("all others", others)):
            before, after = (mean_ap(chosen.data, rows, model) for model in (MODEL, str(trained.path)))
            print(f"| {name} | {len(rows)} | {before:.3f} | {after:.3f} |", flush=True)


if __name__ == "__main__":
    main()
