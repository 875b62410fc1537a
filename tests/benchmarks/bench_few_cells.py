"""A few cells of a new kind: python bench_few_cells.py --data FOLDER [--set NAME=VALUE].

FOLDER holds nuclei/ and em_membrane/ (see docs/data.md). In two slices of electron microscopy, of which the model for
nuclei knows nothing, ten cells are painted each, and the membrane around them. The model learns them, and is scored on
slices four away or more, and on every sixth nuclei image of `val`, before and after.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_few_nuclei import MODEL, mean_ap, paint, rows_of
from bench_membrane_scribbles import CELL, as_value, slices
from nuclei import add_folder_option, score
from scipy import ndimage
from skimage.morphology import remove_small_objects

import napari_tessera as tessera

PAINTED, SCORED = (4, 12), (8, 16, 20)
SMALLEST_PX, SMALLEST_PAINTED_PX = 200, 600


def cells_of(labels, smallest_px):
    return ndimage.label(remove_small_objects(labels == CELL, max_size=smallest_px - 1))[0]


def ap_of_cells(images, labels, model):
    """AP at IoU 0.5 over the scored slices."""
    found = [score(cells_of(labels[z], SMALLEST_PX), tessera.unet(images[z], model=model)) for z in SCORED]
    return float(np.mean([hits / max(1, hits + extra + missed) for hits, extra, missed in found]))


def main():
    options = argparse.ArgumentParser(description=__doc__)
    add_folder_option(options)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--set", nargs="*", default=["steps=150"], metavar="NAME=VALUE")
    chosen = options.parse_args()
    settings = {name: as_value(value) for name, value in (each.split("=", 1) for each in chosen.set)}
    images, labels = slices(chosen.data)
    nuclei = rows_of(chosen.data)[::6]
    rng = np.random.default_rng(chosen.seed)
    painted = [paint(cells_of(labels[z], SMALLEST_PAINTED_PX), rng) for z in PAINTED]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "few.safetensors"
        start = time.perf_counter()
        trained = tessera.fine_tune([images[z] for z in PAINTED], painted, out, start_from=MODEL, **settings)
        own = str(trained.path)
        print(f"{trained.header['training']['steps']} steps, {time.perf_counter() - start:.0f} s")
        print("| AP@0.5 | images | before | after |\n| --- | --- | --- | --- |")
        before, after = (ap_of_cells(images, labels, model) for model in (MODEL, own))
        print(f"| cells in electron microscopy | {len(SCORED)} | {before:.3f} | {after:.3f} |", flush=True)
        before, after = (mean_ap(chosen.data, nuclei, model) for model in (MODEL, own))
        print(f"| nuclei | {len(nuclei)} | {before:.3f} | {after:.3f} |")


if __name__ == "__main__":
    main()
