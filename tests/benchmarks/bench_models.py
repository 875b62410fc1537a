"""All models on all sets of objects in planes: python bench_models.py --data FOLDER [--models NAME|PATH …].

FOLDER holds the sets (see docs/data.md). `segment` runs with default settings, the same for every image; of a stack of
focal planes the middle one is taken. Printed are AP at 0.5 and mean AP 0.50…0.95, each averaged over the images, and
how many of the diameters that were estimated are within 20 % of the true one: that of the objects, as discs, which hold
half of all their pixels. `--magnify 0.5 2` enlarges every image, and its truth, by each of these factors.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from imageio.v3 import imread
from nuclei import add_folder_option
from skimage.transform import resize

import napari_tessera as tessera
from napari_tessera.inference.scale_search import diameter_of_half
from napari_tessera.models import registry

SETS = {
    "nuclei fluorescence": ("nuclei", "labels", "fluorescence"),
    "nuclei stained, brightfield": ("nuclei", "labels", "stained brightfield"),
    "nuclei2d_coelho": ("nuclei2d_coelho", "labels", None),
    "he_nuclei_miccai15": ("he_nuclei_miccai15", "labels", None),
    "phase_cells_usiigaci": ("phase_cells_usiigaci", "labels", None),
    "yeast_phase": ("yeast_phase", "labels", None),
    "yeast_brightfield_traps": ("yeast_brightfield_traps", "labels", None),
    "bacteria_fluo_ecoli": ("bacteria_fluo_ecoli", "labels", None),
    "em_chloroplasts": ("em_chloroplasts", "labels", None),
    "em_axon_myelin": ("em_axon_myelin", "instances", None),
}
"""Of each set: its folder, the folder of labels in it, and the modalities that are taken."""
WITHIN = 1.2
"""Ratio of the estimated diameter and the true one up to which the estimate is right."""
HEAD = "| set | images | model | AP 0.5 | mAP | diameter right | est./true | s |\n|---|---|---|---|---|---|---|---|"


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_folder_option(options)
    options.add_argument("--split", default="test", choices=["train", "val", "test"])
    options.add_argument(
        "--models", nargs="*", help="names or paths; all shipped ones for objects in planes by default"
    )
    options.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    options.add_argument("--every", type=int, default=1, help="score one image in this many")
    options.add_argument("--magnify", nargs="*", type=float, default=[1.0])
    options.add_argument("--verbose", action="store_true", help="print a line for each image")
    chosen = options.parse_args()
    in_planes = [each for each in tessera.list_models() if each.task == "objects" and each.ndim == 2]
    models = chosen.models or [each.name for each in in_planes if each.kind != "click"]
    right: dict[str, list[bool]] = {model: [] for model in models}
    print(HEAD)
    for name in chosen.sets:
        pairs = list(images_of(chosen.data, name, chosen.split))[:: chosen.every]
        for factor in chosen.magnify:
            for model in models if pairs else []:
                start = time.perf_counter()
                scores = [score(*magnified(*pair, factor), model) for pair in pairs]
                seconds = time.perf_counter() - start
                ratios = np.array([each[2] for each in scores])
                is_right = np.abs(np.log(ratios)) < np.log(WITHIN)
                right[model] += is_right.tolist()
                ap, mean_ap = np.mean([each[:2] for each in scores], 0)
                where = name if factor == 1 else f"{name} ×{factor:g}"
                ratio = np.exp(np.mean(np.log(ratios)))
                cells = (where, len(pairs), Path(model).stem, f"{ap:.3f}", f"{mean_ap:.3f}", f"{is_right.mean():.0%}")
                print("|", " | ".join(map(str, (*cells, f"{ratio:.2f}", f"{seconds:.0f}"))), "|", flush=True)
                for each in scores if chosen.verbose else []:
                    print("   ", " ".join(f"{value:.3f}" for value in each))
    for model, each in right.items():
        print(f"{Path(model).stem}: {np.mean(each):.0%} of {len(each)} diameters are right")


def images_of(data: Path, name: str, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images and truths of a split; those of `val` where a set has no `test`."""
    folder, labels, modalities = SETS[name]
    with open(data / folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if modalities is None or row["modality"] in modalities.split()]
    has_split = any(row["split"] == split for row in rows)
    for row in rows:
        if row["split"] == (split if has_split or split != "test" else "val"):
            file_name = row["name"] if "." in row["name"] else f"{row['name']}.png"
            image, truth = imread(data / folder / "images" / file_name), imread(data / folder / labels / file_name)
            is_stack = row["channels"] not in ("1", "3")
            if truth.any():
                yield image[len(image) // 2] if is_stack else image, truth.astype(np.int32)


def magnified(image: np.ndarray, truth: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Enlarge an image, and its truth."""
    if factor == 1:
        return image, truth
    shape = tuple(max(1, round(side * factor)) for side in truth.shape)
    larger = resize(image.astype(np.float32), shape + image.shape[2:], order=1, anti_aliasing=factor < 1)
    near = resize(truth, shape, order=0, anti_aliasing=False, preserve_range=True)
    return larger.astype(image.dtype), near.astype(np.int32)


def score(image: np.ndarray, truth: np.ndarray, model: str) -> tuple[float, float, float]:
    """Return AP at 0.5, mean AP, and the estimated diameter over the true one."""
    channels = {"axes": "YXC"} if image.ndim == 3 else {}
    result = tessera.segment(registry.find(model).kind, image, model=model, **channels)
    scores = tessera.evaluate(truth, result.labels)
    estimated = result.provenance["chosen"].get("diameter_px") or 1e-9
    true = diameter_of_half(np.bincount(truth.reshape(-1))[1:], 2) or 1.0
    return scores["ap"]["0.50"], scores["map"], estimated / true


if __name__ == "__main__":
    main()
