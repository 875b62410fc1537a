"""Classes of pixels: the shipped model of nerve, and a U-Net trained on street scenes.

`python bench_classes.py --data FOLDER axon-myelin [--model PATH --split val]` prints, for each class of the images of
nerve in electron microscopy (`em_axon_myelin`), Dice as the mean over the images, and over all their pixels together.

`python bench_classes.py --data FOLDER camvid --minutes 30` trains a U-Net from nothing on the first three quarters of
each film of `street_camvid` by time, and prints IoU of each class over all pixels of the last quarters, and their mean.
What is not labelled counts neither in the training nor in the scores.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from bench_membrane_scribbles import as_value
from imageio.v3 import imread
from nuclei import add_folder_option

import napari_tessera as tessera

NERVE = ("background", "myelin", "axon", "unmyelinated axon")
STREET = (
    "void", "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"
)  # fmt: skip
LEFT_OUT = 0.25
"""Share of each film, at its end, that scores are measured on."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_folder_option(options)
    options.add_argument("which", choices=["axon-myelin", "camvid"])
    options.add_argument("--model", help="of nerve: name or path, by default the shipped one")
    options.add_argument("--split", default="test", choices=["train", "val", "test"])
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the training")
    chosen = options.parse_args()
    if chosen.which == "axon-myelin":
        measure_nerve(chosen.data / "em_axon_myelin", chosen.model or chosen.which, chosen.split)
    else:
        settings = {name: as_value(value) for name, value in (each.split("=", 1) for each in chosen.set)}
        measure_street(chosen.data / "street_camvid", chosen.minutes, {"threads": chosen.threads} | settings)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the index of a set."""
    with open(folder / "index.csv", newline="") as file:
        return list(csv.DictReader(file))


def confusion(truth: np.ndarray, found: np.ndarray, n_classes: int) -> np.ndarray:
    """Count the pixels of each true class (row) that have each found class (column)."""
    pairs = truth.astype(np.int64).reshape(-1) * n_classes + found.astype(np.int64).reshape(-1)
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def dice(counts: np.ndarray) -> np.ndarray:
    """Return Dice of each class from counts; NaN where it occurs in neither."""
    total = counts.sum(0) + counts.sum(1)
    return 2 * np.diagonal(counts) / np.where(total, total, np.nan)


def segmented(image: np.ndarray, model: str) -> np.ndarray:
    """Segment an image with default settings."""
    return np.asarray(tessera.segment("unet", image, model=model, axes="YXC"[: image.ndim], measure=False).labels)


def measure_nerve(folder: Path, model: str, split: str) -> None:
    """Print the table of the classes of nerve."""
    counts = defaultdict(list)
    for row in rows_of(folder):
        if row["split"] == split:
            image, truth = imread(folder / "images" / row["name"]), imread(folder / "labels" / row["name"])
            counts[row["modality"].split(",")[0]].append(confusion(truth, segmented(image, model), len(NERVE)))
    counts["all"] = [each for group in counts.values() for each in group]
    print("| images | n | class | Dice, mean over images | of all pixels |\n|---|---|---|---|---|")
    for name, group in counts.items():
        for index, of_class in enumerate(NERVE):
            with_class = [each for each in group if each[index].any()]
            if with_class:
                mean, together = np.mean([dice(each)[index] for each in with_class]), dice(np.sum(group, 0))[index]
                print(f"| {name} | {len(with_class)} | {of_class} | {mean:.3f} | {together:.3f} |")


def measure_street(folder: Path, minutes: float, settings: dict) -> None:
    """Train on street scenes, and print the table of their classes."""
    films = defaultdict(list)
    for row in rows_of(folder):
        films[Path(row["source"]).stem.split("_")[0]].append(row["name"])
    first = {film: round(len(names) * (1 - LEFT_OUT)) for film, names in films.items()}
    learnt = [name for film, names in films.items() for name in names[: first[film]]]
    left_out = [name for film, names in films.items() for name in names[first[film] :]]
    counts = np.zeros((len(STREET), len(STREET)), np.int64)
    with tempfile.TemporaryDirectory() as made:
        index, model = Path(made) / "index.csv", Path(made) / "street.safetensors"
        lines = [f"{folder / 'images' / name},{folder / 'labels' / name},train" for name in learnt]
        index.write_text("\n".join(["image,label,split", *lines]))
        settings = {"task": "classes", "ignore": 0, "classes": ",".join(STREET)} | settings
        if not {"steps", "epochs"} & settings.keys():
            settings["minutes"] = minutes
        trained = tessera.train(index, None, model, **settings)
        print(f"{len(learnt)} frames learnt, {len(left_out)} left out, {trained.header['training']['steps']} steps")
        for name in left_out:
            truth = imread(folder / "labels" / name)
            found = segmented(imread(folder / "images" / name), str(model))
            counts += confusion(truth[truth > 0], found[truth > 0], len(STREET))
    right = np.diagonal(counts)
    iou = right / np.maximum(counts.sum(0) + counts.sum(1) - right, 1)
    print("| class | IoU |\n|---|---|")
    for name, value in zip(STREET[1:], iou[1:], strict=True):
        print(f"| {name} | {value:.3f} |")
    print(f"| mean of {len(STREET) - 1} | {iou[1:].mean():.3f} |")
    print(f"| share of right pixels | {right.sum() / counts.sum():.3f} |")


if __name__ == "__main__":
    main()
