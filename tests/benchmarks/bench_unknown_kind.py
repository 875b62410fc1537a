"""A few painted nuclei of a kind never seen: python bench_unknown_kind.py --data FOLDER [--blind MODEL].

FOLDER holds nuclei/ (see docs/data.md). A U-Net learns from all images but the stained ones, as the shipped one did
from all, but for fewer steps (MODEL is where it is kept, and taken from if it is there). In the two stained images of
`val` on which it does worst ten nuclei are painted each, and the background close to them; it learns these, rehearses
the shipped images that are not stained, and is scored on all other stained images of `val` and `test`, and on others.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_few_nuclei import PAINTED_IMAGES, ap, mean_ap, paint, rows_of
from bench_membrane_scribbles import as_value
from nuclei import add_folder_option, image_and_truth

import napari_tessera as tessera
from napari_tessera.training import rehearsal
from napari_tessera.training import unet_task as learn

KIND = "stained"
LEARNING = {
    "balance": "modality,height,width", "intensity_changes": 0.3, "steps": 3000, "validations": 3, "threads": 1,
    "precision": "mixed", "classes": "background,nucleus",
}  # fmt: skip


def learn_without(kind, data, out):
    """Train a U-Net on the images of all other kinds."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("images", "labels"):
            (Path(folder) / name).symlink_to((data / "nuclei" / name).resolve())
        with open(data / "nuclei" / "index.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["modality"] != kind and row["split"] != "test"]
        with open(Path(folder) / "index.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        tessera.train(Path(folder) / "index.csv", None, out, **LEARNING)


def rehearse_without(kind):
    """Let any model rehearse, but no image of this kind."""
    known = [example for example in rehearsal.shipped_examples() if not example.group.startswith(kind)]
    rehearsal.knows_nuclei = lambda start: True
    learn.shipped_examples = lambda: known
    print(f"rehearsed: {len(known)} images of other kinds")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    add_folder_option(options)
    options.add_argument("--blind", type=Path)
    options.add_argument("--minutes", type=float, default=2.5)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--every", type=int, default=6, help="score every so many of the images of other kinds")
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    chosen = options.parse_args()
    settings = {name: as_value(value) for name, value in (each.split("=", 1) for each in chosen.set)}
    with tempfile.TemporaryDirectory() as folder:
        blind = chosen.blind or Path(folder) / "blind.safetensors"
        if not blind.exists():
            learn_without(KIND, chosen.data, blind)
        rehearse_without(KIND)
        rows = rows_of(chosen.data)
        own, others = ([row for row in rows if (row["modality"] == KIND) == is_own] for is_own in (True, False))
        own.sort(key=lambda row: (ap(chosen.data, row, str(blind)), row["name"]))
        unseen = own[PAINTED_IMAGES:] + [row for row in rows_of(chosen.data, "test") if row["modality"] == KIND]
        rng = np.random.default_rng(chosen.seed)
        pairs = [image_and_truth(chosen.data, row["name"]) for row in own[:PAINTED_IMAGES]]
        length = {} if "steps" in settings else {"minutes": chosen.minutes}
        start = time.perf_counter()
        trained = tessera.fine_tune(
            [image for image, _ in pairs], [paint(truth, rng) for _, truth in pairs],
            Path(folder) / "tuned.safetensors", start_from=str(blind), **length | settings,
        )  # fmt: skip
        print(f"{trained.header['training']['steps']} steps, {time.perf_counter() - start:.0f} s")
        print("| AP@0.5 | images | before | after |\n| --- | --- | --- | --- |")
        for name, rows in ((f"{KIND}, not painted", unseen), ("other kinds", others[:: chosen.every])):
            before, after = (mean_ap(chosen.data, rows, model) for model in (str(blind), str(trained.path)))
            print(f"| {name} | {len(rows)} | {before:.3f} | {after:.3f} |", flush=True)


if __name__ == "__main__":
    main()
